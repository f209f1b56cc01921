"""The interface of a network."""

from abc import abstractmethod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


class Backbone(nn.Module):
    """What an algorithm may ask of a network; any module with `features` and such a `forward` will do.

    Attributes:
        features: how many numbers describe an example.
    """

    features: int

    @abstractmethod
    def forward(self, x: Any) -> Tensor:
        """Map (n, *shape), or a dict of such fields, to (n, features)."""


@runtime_checkable
class HasFeatureMap(Protocol):
    """What a network offers besides, if it has images in its last layers.

    Attributes:
        map_shape: (channels, height, width) of the last map.
    """

    map_shape: tuple[int, int, int]

    def feature_map(self, x: Any) -> Tensor:
        """Map (n, *shape) to (n, *map_shape)."""
