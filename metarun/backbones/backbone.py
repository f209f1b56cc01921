"""The interface of a network."""

from abc import abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module):
    """What an algorithm may ask of a network; any module with `features` and such a `forward` will do.

    Attributes:
        features: how many numbers describe an example.
    """

    features: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *shape) to (n, features)."""
