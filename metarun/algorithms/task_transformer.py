"""A transformer that reads a task as a sequence of its support examples and queries."""

import torch
from torch import Tensor, nn

from metarun.backbones.transformer import EncoderLayer
from metarun.errors import UserError
from metarun.system.limits import check_at_least


class TaskTransformer(nn.Module):
    """The encoder layers of `backbone=transformer`, in which every token attends to the support tokens only.

    There are no positions, so the order of the support set does not matter; and no query sees another.

    Args:
        width: numbers of a token.
        layers: of attention and feed-forward, one after the other.
        heads: of each attention; they divide the width.
        outputs: numbers that a query's last state is mapped to.
    """

    def __init__(self, width: int, layers: int, heads: int, outputs: int) -> None:
        super().__init__()
        check_at_least("algo.width", width, 1)
        check_at_least("algo.layers", layers, 1)
        check_heads(width, heads)
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs))

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        """Map tokens of support examples (n, width) and queries (m, width) to (m, outputs)."""
        states = torch.cat([support, query])[None]  # (1, n + m, width)
        readable = torch.arange(states.shape[1], device=states.device)[None] < len(support)
        for layer in self.layers:
            states = layer(states, readable)
        outputs: Tensor = self.out(states[0, len(support) :])
        return outputs


def check_heads(width: int, heads: int) -> None:
    """Raise a UserError if the heads of an attention do not divide its width."""
    if heads < 1 or width % heads:
        raise UserError(
            f"algo.width={width} and algo.heads={heads} but the heads must be at least 1 and divide the width",
            "set them, such as to 64 and 4.",
        )


@torch.no_grad()
def attend_to_similar(layers: nn.ModuleList) -> None:
    """Make the weights of keys those of queries, so that scores are inner products; they are free to part.

    Args:
        layers: `EncoderLayer` each.
    """
    for layer in layers:
        assert isinstance(layer, EncoderLayer)
        for each in layer.query_key_value.parameters():
            query, key, _ = each.chunk(3)  # views
            key.copy_(query)
