"""The mean embedding of a text's tokens, and layers on it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.backbones.text_fields import TextFields, masked_mean
from metarun.data.inputs import InputSpec
from metarun.errors import UserError


class Bag(Backbone):
    """A bag of embeddings (Iyyer et al. 2015, deep averaging network): mean over tokens, then linear layers with ReLU.

    Args:
        inputs: the fields of an example: ids (length,) and a mask (length,).
        width: numbers of an embedding.
        hidden: units of the layers, the last of which are the features.

    Raises:
        UserError: the fields are others, or a layer has no units.
    """

    def __init__(self, inputs: Mapping[str, InputSpec], width: int = 128, hidden: Sequence[int] = (128,)) -> None:
        super().__init__()
        if width < 1 or not hidden or min(hidden) < 1:
            raise UserError(
                f"backbone.width={width} and backbone.hidden={list(hidden)} but every layer needs units",
                "set them, such as to 128 and [128].",
            )
        self.fields = TextFields(inputs, "bag")
        self.embedding = nn.Parameter(torch.randn(self.fields.size, width) * width**-0.5)
        layers: list[nn.Module] = []
        for before, units in pairwise([width, *hidden]):
            layers += [nn.Linear(before, units), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])  # features of both signs
        self.features = hidden[-1]

    def forward(self, x: Tensor | dict[str, Tensor]) -> Tensor:
        """Map ids and a mask (n, length) to (n, features)."""
        ids, mask = self.fields.of(x)
        features: Tensor = self.layers(masked_mean(self.embedding[ids], mask))
        return features
