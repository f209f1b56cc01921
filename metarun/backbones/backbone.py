"""The interface of a network."""

from abc import abstractmethod
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from metarun.errors import UserError


class Backbone(nn.Module):
    """The network of an algorithm: any module with `features` and such a `forward`.

    Attributes:
        features: number of features of an example.
    """

    features: int

    @abstractmethod
    def forward(self, x: Any) -> Tensor:
        """Map (n, *shape), or a dict of such fields, to (n, features)."""


@runtime_checkable
class HasFeatureMap(Protocol):
    """A network that also provides feature maps.

    Attributes:
        map_shape: (channels, height, width) of the last map.
    """

    map_shape: tuple[int, int, int]

    def feature_map(self, x: Any) -> Tensor:
        """Map (n, *shape) to (n, *map_shape)."""


def image_shape(name: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (channels, height, width); raise a UserError if `backbone=name` gets examples that are not images."""
    if len(input_shape) != 3:
        raise UserError(
            f"backbone={name} needs images but the data has examples of shape {input_shape}", "use backbone=mlp."
        )
    return input_shape


def initialise_convolutions(network: nn.Module, nonlinearity: Literal["relu", "leaky_relu"]) -> None:
    """Draw the weights of all convolutions as He et al. 2015 do, by the number of outputs."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity=nonlinearity)
