"""Fully connected layers, for tables and functions."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.backbones.norm import Norm, make_norm
from metarun.errors import UserError


class MLP(Backbone):
    """Linear layers, each followed by normalisation and ReLU; two of 40 units are MAML's network for sinusoids.

    Args:
        input_shape: of an example, which is flattened.
        hidden: units of each layer; those of the last are the features.
        norm: see `make_norm`.
    """

    def __init__(self, input_shape: tuple[int, ...], hidden: Sequence[int] = (40, 40), norm: Norm = "none") -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise UserError(
                f"backbone.hidden={list(hidden)} but at least one layer with at least 1 unit is needed",
                "set `backbone.hidden`, such as to [40, 40].",
            )
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, units in pairwise([math.prod(input_shape), *hidden]):
            layers += [nn.Linear(inputs, units), make_norm(norm, units, spatial=False), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.features = hidden[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *input_shape) to (n, features)."""
        features: Tensor = self.layers(x)
        return features
