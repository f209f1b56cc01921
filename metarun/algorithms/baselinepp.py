"""Transfer learning with a cosine classifier."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, AdaptedHead, Algorithm, embed_once
from metarun.algorithms.pretraining import pretraining_batch
from metarun.algorithms.protonet import prototypes
from metarun.backbones import Backbone, embed_queries
from metarun.errors import UserError
from metarun.system.gradient import grad
from metarun.system.limits import check_above
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import check_label_smoothing, mean_loss, smoothed_loss

Head = tuple[Tensor, Tensor]  # (classes, features) directions, and the scale of their cosines


class BaselinePP(Algorithm):
    """Baseline++ (Chen et al. 2019, https://arxiv.org/abs/1904.04232, section 3.2).

    Baseline with cosine classifiers, both in pre-training and for a task: a logit is a scale times the cosine between a
    feature vector and the class's weight vector, which reduces the variation within classes. Gradient steps on the
    support set adapt a task's head; the backbone is frozen.

    Deviations: the scale is learned (the authors' code fixes it to 2 or 10), in both stages from `scale`. A task's
    weight vectors are initialised to the mean directions of the class's support features, not randomly, so nothing
    depends on chance or on the order of labels. Each step takes the whole support set.

    Args:
        backbone: the network below the heads.
        train_classes: number of meta-train classes, set from the data.
        inner_lr: learning rate of the gradient steps of a task's head.
        scale: initial scale of the cosines.
        label_smoothing: in pre-training, the probability that targets give to the other classes in equal parts.
    """

    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    predicts_from_features = True
    optional_weights: ClassVar[tuple[str, ...]] = ("directions", "learned_scale")

    def __init__(
        self,
        backbone: Backbone,
        train_classes: int,
        inner_lr: float = 0.01,
        scale: float = 10.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_label_smoothing(label_smoothing)
        if scale <= 0:
            raise UserError(
                f"algo.scale={scale} but it must be above 0", "raise `algo.scale`; the paper's code uses 2 and 10."
            )
        check_above("algo.inner_lr", inner_lr, 0)
        self.backbone = backbone
        self.directions = nn.Parameter(torch.randn(train_classes, backbone.features))  # used in pre-training only
        self.learned_scale = nn.Parameter(torch.tensor(float(scale)))  # so is this
        self.inner_lr = inner_lr
        self.scale = scale
        self.label_smoothing = label_smoothing

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the batch's examples among all meta-train classes."""
        x, classes = pretraining_batch(tasks)
        logits = cosine_logits(self.backbone(x), (self.directions, self.learned_scale))
        return smoothed_loss(logits, classes, self.label_smoothing)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`; without adaptation it predicts the nearest mean direction."""
        embed = embed_once(partial(embed_queries, self.backbone, support.x))
        for head in self._inner_loop(self.backbone(support.x), support.y, support.way, steps):
            yield AdaptedHead(embed, partial(cosine_logits, head=head))

    def _inner_loop(self, support: Tensor, labels: Tensor, way: int, steps: int) -> Iterator[Head]:
        """Yield one task's head before adaptation and after each gradient step; support: (way * shot, features)."""

        def loss(head: Head) -> Tensor:
            return mean_loss(cosine_logits(support, head), labels)

        directions = prototypes(F.normalize(support, dim=1), labels, way)
        scale = torch.full_like(directions[0, 0], self.scale)
        yield directions, scale
        for _ in range(steps):
            of_directions, of_scale = grad(loss)((directions, scale))
            directions, scale = directions - self.inner_lr * of_directions, scale - self.inner_lr * of_scale
            yield directions, scale


def cosine_logits(features: Tensor, head: Head) -> Tensor:
    """Return (n, classes) the scaled cosines between features (n, features) and a head's directions."""
    directions, scale = head
    return scale * F.normalize(features, dim=1) @ F.normalize(directions, dim=1).T
