"""Prototypical networks."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above, check_one_of


class ProtoNet(Stepless):
    """Prototypical networks (Snell, Swersky, Zemel 2017, https://arxiv.org/abs/1703.05175).

    The prototype of a class is the mean of its support features; a query is assigned to the nearest prototype. The
    logits are the negative *squared* Euclidean distances (equation 2). Support and query go through the backbone
    together, as in the authors' code, which matters only for a norm with batch statistics.

    Args:
        backbone: maps examples to features.
        distance: "squared_euclidean", or "cosine": the logits are `scale` times the cosine between query and prototype
            (section 2.7 and figure 2 of the paper).
        scale: of cosines, which are too small for logits; not used for distances.
        learn_scale: meta-learn the scale of cosines, starting from `scale`.
    """

    predicts_from_features = True

    def __init__(
        self,
        backbone: Backbone,
        distance: Literal["squared_euclidean", "cosine"] = "squared_euclidean",
        scale: float = 10.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        check_one_of("algo.distance", distance, ("squared_euclidean", "cosine"))
        check_above("algo.scale", scale, 0)
        self.distance = distance
        # Only a parameter if it is used: `parameters` of the record counts them.
        learned = learn_scale and distance == "cosine"
        self.scale = nn.Parameter(torch.tensor(float(scale))) if learned else float(scale)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless` (equation 2)."""
        support, query = embed_together(self.backbone, support_x, query_x)
        centres = prototypes(support, support_y, way)
        if self.distance == "cosine":
            return self.scale * cosines(query, centres)
        return -squared_distances(query, centres)


def prototypes(features: Tensor, labels: Tensor, way: int) -> Tensor:
    """Return (way, features), the mean of each class's rows in `features` (n, features); labels (n) (equation 1)."""
    # Not F.one_hot, which looks at the labels; vmap over a gradient cannot.
    members = (labels[:, None] == torch.arange(way, device=labels.device)).to(features.dtype)  # (n, way)
    return (members / members.sum(0)).T @ features


_LONG = 2_000  # numbers


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Return (points, centres) squared Euclidean distances between the rows of two matrices.

    Long rows, such as TF-IDF vectors and raw photographs, are multiplied, |p|^2 - 2 p c + |c|^2, since the differences
    of all pairs would be 49 MB for a 20-way task of 2,048 numbers. Features of networks are shorter; their
    differences are squared, which is exact where points and centres are close.
    """
    if points.shape[-1] < _LONG:
        return (points[:, None] - centres[None]).square().sum(-1)
    middle = centres.mean(0)  # distances do not depend on it, but smaller numbers lose fewer digits
    points, centres = points - middle, centres - middle
    squares = points.square().sum(-1)[:, None] + centres.square().sum(-1)[None]
    return (squares - 2 * points @ centres.mT).clamp_min(0)


def cosines(points: Tensor, centres: Tensor) -> Tensor:
    """Return (points, centres) cosines between the rows of two matrices."""
    return F.normalize(points, dim=-1) @ F.normalize(centres, dim=-1).mT
