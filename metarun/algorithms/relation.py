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
from metarun.system.limits import check_at_least
from metarun.tasks.batch import Support, TaskBatch


class RelationNet(Stepless):
    """Relation networks (Sung, Yang, Zhang, Xiang, Torr, Hospedales 2018, https://arxiv.org/abs/1711.06025).

    The comparison is learned too: a small network, the relation module, takes the concatenated feature maps of a class
    and a query and returns a score in (0, 1) (equation 1). The map of a class is the sum over its support examples;
    of unequal shots, which the paper does not have, their mean times the mean shot.
    The loss is the squared error of the scores to 1 for the query's class and 0 for others (equation 2).

    As in the authors' code, support and query go through the backbone separately, and all pairs of a task through the
    relation module together, which matters for a norm with batch statistics. The authors initialise layers differently
    and clip gradients to a norm of 0.5. Predictions are the logarithms of the scores: with softmax, the probability of
    a class is its share of the scores.

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
        check_at_least("algo.hidden", hidden, 1)
        if norm in ("support", "tasknorm"):
            raise UserError(
                f"algo.norm={norm} but the relation module compares pairs and has no support set",
                "set `algo.norm` to another, such as layer.",
            )
        self.feature_map = backbone.feature_map
        self.relation = relation_module(backbone.map_shape, hidden, norm)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean squared error of all scores (equation 2, where it is the sum)."""
        scores = self.logits_of_tasks(tasks).sigmoid()
        return F.mse_loss(scores, F.one_hot(tasks.query_y, tasks.way).to(scores.dtype))

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`; predictions are the logarithms of the scores."""
        for adapted in super().adapt(support, steps):
            yield AdaptedHead(adapted.predict, F.logsigmoid)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`; the sigmoid of a logit is the score."""
        with match_precision(self.backbone, first_field(support_x)):
            support = self.feature_map(support_x)
            query = embed_queries(self.backbone, support_x, query_x, self.feature_map)
            members = F.one_hot(support_y, way).to(support.dtype)  # (way * shot, way)
            classes = members.mT @ support.flatten(1)
            equal_share = support_y.shape[0] / way / members.sum(0)  # 1 for equal shots; len() is fixed in an export
            classes = (equal_share[:, None] * classes).reshape(way, *support.shape[1:])  # (way, *map)
            pairs = torch.cat(
                [
                    classes[None].expand(query.shape[0], *classes.shape),
                    query[:, None].expand(query.shape[0], *classes.shape),
                ],
                dim=2,
            )  # (way * query, way, 2 * channels, height, width)
            logits = upcast(self.relation(pairs.flatten(0, 1)))
        return logits.reshape(query.shape[0], way)


def relation_module(map_shape: tuple[int, int, int], hidden: int, norm: Norm) -> nn.Sequential:
    """Return the network from (n, 2 * channels, height, width) to (n, 1), without the last sigmoid (figure 3).

    Two blocks of convolution, normalisation, ReLU and 2x2 max-pooling, then two linear layers. A map that is one pixel
    high or wide is not pooled.
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
