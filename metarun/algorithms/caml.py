"""CAML: a transformer reads frozen features beside maximally distant label vectors, once for each query."""

import math

import torch
from torch import Tensor, nn

from metarun.algorithms.label_reader import LabelReader
from metarun.algorithms.task_transformer import attend_to_similar
from metarun.backbones import Backbone, embed_together
from metarun.backbones.transformer import EncoderLayer
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_at_least


class CAML(LabelReader):
    """Context-aware meta-learning (Fifty et al. 2024, https://arxiv.org/abs/2310.10971).

    A token is an example's features beside the vector of its label; a query has a learned vector in place of a label.
    The label vectors are an equal length and maximally equiangular set (ELMES, definition 1). A transformer without
    positions reads one query with the whole support set, so that the support set is read in the light of that query
    and no query sees another. The query's last state is mapped to logits. The backbone is meant to be frozen, such as
    `backbone=minilm backbone.head=none`.

    Deviations: fewer layers; the features are centred on the mean of the support set, and the weights of keys begin as
    those of queries, as in `InContext`, since the authors meta-train on millions of pictures.

    Args:
        backbone: maps examples to features.
        max_way: the largest way. Tasks of fewer classes get a random choice of these labels in meta-training.
        label_features: numbers of a label vector, at least `max_way`.
        layers: of attention and feed-forward.
        heads: of each attention; they divide the features and label numbers together.
    """

    predicts_from_features = True
    option = "caml"

    def __init__(
        self, backbone: Backbone, max_way: int, label_features: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        check_at_least("algo.max_way", max_way, 2)
        if label_features < max_way:
            raise UserError(
                f"algo.label_features={label_features} but {max_way} labels need as many numbers",
                f"set `algo.label_features={max_way}` or more.",
            )
        width = backbone.features + label_features
        if layers < 1 or heads < 1 or width % heads:
            raise UserError(
                f"algo.layers={layers} and algo.heads={heads} but there must be at least one layer, and the heads must "
                f"divide the sum of {backbone.features} features and {label_features} label numbers",
                "change `algo.heads` or `algo.label_features`.",
            )
        self.backbone = backbone
        self.max_way = max_way
        self.label_vectors = nn.Parameter(elmes(max_way, label_features), requires_grad=False)
        self.label_scale = nn.Parameter(torch.ones(()))
        self.unknown = nn.Parameter(torch.zeros(label_features))  # the label of a query
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, max_way, bias=False))
        attend_to_similar(self.layers)

    def all_logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs) -> Tensor:
        """See `LabelReader`."""
        support, query = embed_together(self.backbone, support_x, query_x)
        centre = support.mean(0)
        labels = (self.label_scale * self.label_vectors)[support_y]  # (way * shot, label_features)
        known = torch.cat([support - centre, labels], -1)
        asked = torch.cat([query - centre, self.unknown.expand(len(query), -1)], -1)
        states = torch.cat([asked[:, None], known.expand(len(asked), -1, -1)], 1)  # (queries, 1 + way * shot, width)
        everything = states.new_ones(states.shape[:2], dtype=torch.bool)
        for layer in self.layers:
            states = layer(states, everything)
        logits: Tensor = self.out(states[:, 0])
        return logits


def elmes(count: int, size: int) -> Tensor:
    """Return (count, size): vectors of length 1, all pairs of which have the inner product -1 / (count - 1).

    The corners of a simplex (Fifty et al. 2024, equation 1), turned in a way that is always the same.
    """
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(size, count, generator=generator, dtype=torch.float64))
    corners = math.sqrt(count / (count - 1)) * (torch.eye(count, dtype=torch.float64) - 1 / count)
    vectors: Tensor = (corners @ basis.T).float()
    return vectors
