"""Attentive neural processes, the deterministic path."""

import torch
from torch import Tensor, nn

from metarun.algorithms.neural_process import NeuralProcess, mean_and_sd, perceptron
from metarun.algorithms.task_transformer import check_heads
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs


class AttentiveNP(NeuralProcess):
    """Attentive neural processes (Kim et al. 2019, https://arxiv.org/abs/1901.05761), the deterministic path.

    An encoder maps every support pair to r_i and a decoder maps a representation and a query to its mean and standard
    deviation, as in a conditional neural process. But the representation is not the same for all queries: each attends
    to the support examples, by multi-head attention from its x to theirs, and reads its own mean of the r_i (section
    3.1).

    Deviations: no latent path and no self-attention among the pairs; the backbone embeds x, for keys and queries alike.

    Args:
        backbone: maps examples to features.
        outputs: numbers of a target.
        width: units of each layer, and the size of r.
        layers: linear layers of the encoder, and of the decoder.
        heads: of the attention; they divide the width.
        min_sd: lower bound of the predicted standard deviation, in units of the targets.
    """

    def __init__(
        self, backbone: Backbone, outputs: int, width: int = 128, layers: int = 3, heads: int = 8, min_sd: float = 0.1
    ) -> None:
        super().__init__(backbone, outputs, min_sd, width=width, layers=layers)
        check_heads(width, heads)
        self.heads = heads
        features, hidden = backbone.features, [width] * (layers - 1)
        self.encoder = perceptron([features + outputs, *hidden, width])
        self.decoder = perceptron([width + features, *hidden, 2 * outputs])
        self.key, self.query = nn.Linear(features, width), nn.Linear(features, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def distribution(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """See `NeuralProcess` (section 3.1)."""
        support, query = embed_together(self.backbone, support_x, query_x)
        pairs = self.encoder(torch.cat([support, support_y], -1))  # (shot, width)
        read = self.out(attend(self.query(query), self.key(support), self.value(pairs), self.heads))  # (query, width)
        return mean_and_sd(self.decoder(torch.cat([read, query], -1)), self.min_sd)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Return (queries, width), for each query and head the mean of the values by softmax(query . key / sqrt(width)).

    Args:
        query: (queries, width).
        key: (examples, width).
        value: (examples, width).
        heads: equal parts of the width, each with an attention of its own.
    """

    def split(states: Tensor) -> Tensor:
        return states.view(len(states), heads, -1).transpose(0, 1)  # (heads, n, width / heads)

    q, k, v = split(query), split(key), split(value)
    attention = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)  # (heads, queries, examples)
    read: Tensor = (attention @ v).transpose(0, 1).flatten(1)
    return read
