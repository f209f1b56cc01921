"""A network that begins as the identity, for vectors that are good features already."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.errors import UserError


class ResidualMLP(Backbone):
    """x + V relu(U x + u): V is 0 at first, so that training begins at the inputs themselves, and at their floor.

    Args:
        input_shape: of an example; it is flattened.
        hidden: units of the one hidden layer.

    Attributes:
        features: as many as the numbers of an example.
    """

    def __init__(self, input_shape: tuple[int, ...], hidden: int = 256) -> None:
        super().__init__()
        if hidden < 1:
            raise UserError(f"backbone.hidden={hidden} but the layer needs units", "raise `backbone.hidden`.")
        self.features = math.prod(input_shape)
        self.inner = nn.Linear(self.features, hidden)
        self.outer = nn.Linear(hidden, self.features, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, features)."""
        x = x.flatten(1)
        features: Tensor = x + self.outer(F.relu(self.inner(x)))
        return features
