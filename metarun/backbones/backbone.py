"""The interface of a network."""

from abc import abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


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
