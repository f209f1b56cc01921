"""MetaOptNet: a support vector machine as the head."""

import torch
from torch import Tensor, nn

from metarun.algorithms.solvers.crammer_singer import dual_coefficients
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import check_label_smoothing, smoothed_loss


class MetaOptNet(Stepless):
    """MetaOptNet-SVM (Lee, Maji, Ravichandran, Soatto 2019, https://arxiv.org/abs/1904.03758).

    A task's head is a linear multi-class support vector machine (Crammer and Singer 2001, equation 7), trained on the
    support features to its optimum. The gradient of the features comes from the optimality conditions of its dual
    (section 3.2). The logits are `scale` times its decision values, with a meta-learned scale (equation 12).

    `dual_coefficients` solves the dual, always in float64; the authors use a general solver of quadratic programs.
    Support and query go through the backbone together, as in `ProtoNet`; the authors pass the support set first, which
    matters only for a norm with batch statistics.

    Args:
        backbone: maps examples to features.
        c: penalty of margin violations; 0.1 in the paper.
        init_scale: initial scale of the logits.
        label_smoothing: probability that the targets of the outer loss distribute evenly over the other classes.
    """

    predicts_from_features = True

    def __init__(
        self, backbone: Backbone, c: float = 0.1, init_scale: float = 1.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.backbone = backbone
        check_above("algo.c", c, 0)
        check_above("algo.init_scale", init_scale, 0)
        check_label_smoothing(label_smoothing)
        self.c = c
        self.scale = nn.Parameter(torch.tensor(float(init_scale)))
        self.label_smoothing = label_smoothing

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the queries (equation 11), with smoothed labels as in the authors' code."""
        return smoothed_loss(self.logits_of_tasks(tasks), tasks.query_y, self.label_smoothing)

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless` (equation 12)."""
        support, query = embed_together(self.backbone, support_x, query_x)
        exact = support.double()  # differences in the 8th digit decide which examples are support vectors
        alpha = dual_coefficients(exact @ exact.mT, support_y, way, self.c).to(support.dtype)
        logits: Tensor = self.scale * (query @ support.mT @ alpha)
        return logits
