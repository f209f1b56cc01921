"""A small transformer encoder, trained from scratch."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.backbone import Backbone
from metarun.backbones.norm import make_norm
from metarun.backbones.text_fields import TextFields, masked_mean
from metarun.data.inputs import InputSpec
from metarun.errors import UserError


class Transformer(Backbone):
    """An encoder (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762) whose features are the mean over the tokens.

    Deviations: normalisation before each sublayer and after the last, GELU, learned positions, no dropout, since a
    method calls the network several times on a task and expects the same answer. Tokens attend to those that the mask
    includes. Attention is written out, because fused kernels have no second derivative, which MAML needs; that of
    torch's own layer_norm is wrong under vmap in torch 2.13.

    Args:
        inputs: the fields of an example: ids (length,) and a mask (length,).
        width: numbers of a token.
        layers: of attention and feed-forward, one after the other.
        heads: of each attention; they divide the width.

    Raises:
        UserError: the fields are others, or the width cannot be divided.
    """

    def __init__(self, inputs: Mapping[str, InputSpec], width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or width < 1 or width % heads:
            raise UserError(
                f"backbone.width={width}, backbone.heads={heads} and backbone.layers={layers} but the heads must "
                "divide the width, and there must be at least one layer",
                "set them, such as to 64, 4 and 2.",
            )
        self.fields = TextFields(inputs, "transformer")
        self.embedding = nn.Parameter(torch.randn(self.fields.size, width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(self.fields.length, width) * width**-0.5)
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        self.norm = make_norm("layer", width, spatial=False)
        self.features = width

    def forward(self, x: Tensor | dict[str, Tensor]) -> Tensor:
        """Map ids and a mask (n, length) to (n, features)."""
        ids, mask = self.fields.of(x)
        states = self.embedding[ids] + self.positions  # (n, length, width)
        for layer in self.layers:
            states = layer(states, mask)
        return masked_mean(_per_token(self.norm, states), mask)


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network of four times the width, each added to its normalised input.

    Args:
        width: numbers of a token.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = make_norm("layer", width, spatial=False)
        self.before_forward = make_norm("layer", width, spatial=False)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map states (n, length, width) to ones of the same shape."""
        states = states + self._attend(_per_token(self.before_attention, states), mask)
        added: Tensor = self.narrow(F.gelu(self.widen(_per_token(self.before_forward, states))))
        return states + added

    def _attend(self, states: Tensor, mask: Tensor) -> Tensor:
        n, length, width = states.shape
        split = self.query_key_value(states).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width / heads)
        scores = query @ key.mT * query.shape[-1] ** -0.5  # (n, heads, length, length)
        # The lowest number, not -inf: a text without any token would be NaN.
        scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        attended: Tensor = self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(n, length, width))
        return attended


def _per_token(norm: nn.Module, states: Tensor) -> Tensor:
    """Normalise each token (n, length, width) by itself."""
    normalised: Tensor = norm(states.flatten(0, 1)).view(states.shape)
    return normalised
