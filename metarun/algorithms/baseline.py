"""Transfer learning with a linear classifier: pre-train, then fit a new head per task."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.pretraining import pretraining_batch
from metarun.algorithms.solvers.logistic_regression import fit_logistic_regression
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_queries
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import check_label_smoothing, smoothed_loss


class Baseline(Stepless):
    """Baseline (Chen et al. 2019, https://arxiv.org/abs/1904.04232) with the head of RFS.

    The backbone is pre-trained with a linear classifier of all meta-train classes, without tasks. A task's head is
    L2-regularised multinomial logistic regression on the support features, normalised to length 1 as by Tian et al.
    2020 (RFS, https://arxiv.org/abs/2003.11539, section 3.1).

    Deviations: Chen et al. fit the head by 100 steps of SGD; here it is the optimum. RFS's augmented copies of the
    support set and its distillation are not implemented.

    Args:
        backbone: the network below the heads.
        train_classes: number of meta-train classes, set from the data.
        cost: inverse strength of the head's penalty, scikit-learn's C.
        normalise: divide each feature vector by its length before fitting the head, as RFS does; Chen et al. do not.
        label_smoothing: in pre-training, the probability that targets give to the other classes in equal parts.
    """

    splittable: ClassVar[bool] = False  # pre-training sees one batch of examples
    predicts_from_features = True
    optional_weights: ClassVar[tuple[str, ...]] = ("classifier.",)

    def __init__(
        self,
        backbone: Backbone,
        train_classes: int,
        cost: float = 1.0,
        normalise: bool = True,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        check_label_smoothing(label_smoothing)
        self.backbone = backbone
        if cost <= 0:
            raise UserError(
                f"algo.cost={cost} but it must be above 0", "raise `algo.cost`; scikit-learn and RFS use 1."
            )
        self.classifier = nn.Linear(backbone.features, train_classes)  # not needed once the backbone is trained
        self.cost = cost
        self.normalise = normalise
        self.label_smoothing = label_smoothing

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the batch's examples among all meta-train classes."""
        x, classes = pretraining_batch(tasks)
        return smoothed_loss(self.classifier(self.backbone(x)), classes, self.label_smoothing)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless`; the head is fitted to the support set."""
        support, query = self.backbone(support_x), embed_queries(self.backbone, support_x, query_x)
        if self.normalise:
            support, query = F.normalize(support, dim=1), F.normalize(query, dim=1)
        weights, offsets = fit_logistic_regression(support, support_y, way, self.cost)
        logits: Tensor = query @ weights.T + offsets
        return logits
