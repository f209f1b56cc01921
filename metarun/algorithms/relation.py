"""Relation networks."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, AdaptedHead
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, HasFeatureMap, Norm, embed_queries, match_precision, upcast
from metarun.backbones.norm import make_norm
from metarun.errors import UserError
from metarun.system.inputs import Inputs, first_field
from metarun.tasks.batch import Support, TaskBatch


class RelationNet(Stepless):
    """Relation networks (Sung, Yang, Zhang, Xiang, Torr, Hospedales 2018, https://arxiv.org/abs/1711.06025).

    The comparison is learned too: a small network sees the feature maps of a class and of a query, one upon the other,
    and gives a score in (0, 1) to their relation (equation 1). A class's map is the sum of its support examples' maps.
    Scores are regressed on 1 for the query's class and 0 for others, by squared error (equation 2).

    As in the authors' code, support and query go through the backbone apart, and all pairs of a task through the
    relation module together, which matters where the norm takes statistics over the batch. Their gradient is clipped
    to a norm of 0.5 and their layers begin with weights of their own; ours begin as torch's do. Predictions are the
    scores' logarithms: with softmax, the probability of a class is its share of the scores.

    Args:
        backbone: has feature maps (`HasFeatureMap`).
        hidden: units of the layer before the score.
        norm: of the relation module, see `make_norm`.

    Raises:
        UserError: the backbone has no feature maps, or an argument is out of range.
    """

    def __init__(self, backbone: Backbone, hidden: int = 8, norm: Norm = "batch") -> None:
        super().__init__()
        self.backbone = backbone
        if not isinstance(backbone, HasFeatureMap):
            raise UserError(
                f"algo=relation compares feature maps and {type(backbone).__name__} has none", "use backbone=conv4."
            )
        if hidden < 1:
            raise UserError(f"algo.hidden={hidden} but the layer needs units", "raise `algo.hidden`.")
        if norm in ("support", "tasknorm"):
            raise UserError(
                f"algo.norm={norm} but the relation module compares pairs, among which is no support set",
                "set `algo.norm` to another, such as layer.",
            )
        self.feature_map = backbone.feature_map
        self.relation = relation_module(backbone.map_shape, hidden, norm)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean squared error of all scores (equation 2, divided by their number as in the code)."""
        scores = self.logits_of_tasks(tasks).sigmoid()
        return F.mse_loss(scores, F.one_hot(tasks.query_y, tasks.way).to(scores.dtype))

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`; what is predicted are the logarithms of the scores."""
        for remembered in super().adapt(support, steps):
            yield AdaptedHead(remembered.predict, F.logsigmoid)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`; the sigmoid of one is the score."""
        with match_precision(self.backbone, first_field(support_x)):
            support = self.feature_map(support_x)
            query = embed_queries(self.backbone, support_x, query_x, self.feature_map)
            members = F.one_hot(support_y, way).to(support.dtype)  # (way * shot, way)
            classes = (members.mT @ support.flatten(1)).reshape(way, *support.shape[1:])  # (way, *map)
            pairs = torch.cat(
                [
                    classes[None].expand(len(query), *classes.shape),
                    query[:, None].expand(len(query), *classes.shape),
                ],
                dim=2,
            )  # (way * query, way, 2 * channels, height, width)
            logits = upcast(self.relation(pairs.flatten(0, 1)))
        return logits.reshape(len(query), way)


def relation_module(map_shape: tuple[int, int, int], hidden: int, norm: Norm) -> nn.Sequential:
    """Return the network from (n, 2 * channels, height, width) to (n, 1), without the last sigmoid (figure 3).

    Two blocks of convolution, normalisation, ReLU and 2x2 max-pooling, then two linear layers; a map that is one pixel
    high or wide is pooled no further.
    """
    channels, height, width = map_shape
    layers: list[nn.Module] = []
    for inputs in (2 * channels, channels):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1), make_norm(norm, channels, spatial=True), nn.ReLU()]
        if min(height, width) > 1:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    size = channels * height * width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1))
