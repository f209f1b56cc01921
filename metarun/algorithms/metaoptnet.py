"""A support vector machine as a head."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.solvers.crammer_singer import dual_coefficients
from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_together
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch
from metarun.tasks.losses import mean_loss


class MetaOptNet(Stepless):
    """MetaOptNet-SVM (Lee, Maji, Ravichandran, Soatto 2019, https://arxiv.org/abs/1904.03758).

    A task's head is a linear multi-class support vector machine (Crammer and Singer 2001, equation 7), trained on the
    support features to its optimum. The gradient comes from the optimality conditions of its dual (section 3.2), so
    features are learned that such a machine separates best. The logits are `scale` times its decision values, with a
    scale that is meta-learned (equation 12).

    The dual is solved by `dual_coefficients`, in float64 whatever the features are in, where the authors call a general
    solver of quadratic programmes. Support and query go through the backbone together, as ProtoNet's here; the authors
    take the support first, which matters only where the norm takes statistics over the batch.

    Args:
        backbone: maps examples to the features that are separated.
        c: the price of a margin that is not kept; the authors' 0.1.
        init_scale: of the logits, to begin with.
        label_smoothing: probability that the outer loss's targets give to the other classes, shared evenly.

    Raises:
        UserError: an argument is out of range.
    """

    predicts_from_features = True

    def __init__(
        self,
        backbone: Backbone,
        c: float = 0.1,
        init_scale: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        if c <= 0:
            raise UserError(f"algo.c={c} but the price of a missed margin is above 0", "raise `algo.c`.")
        if init_scale <= 0:
            raise UserError(f"algo.init_scale={init_scale} but logits need a scale above 0", "raise `algo.init_scale`.")
        if not 0 <= label_smoothing < 1:
            raise UserError(f"algo.label_smoothing={label_smoothing} is not a probability from 0 to below 1.")
        self.c = c
        self.scale = nn.Parameter(torch.tensor(float(init_scale)))
        self.label_smoothing = label_smoothing

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean cross-entropy of the queries (equation 11), to smoothed labels as in the authors' code."""
        logits = self.logits_of_tasks(tasks)
        if self.label_smoothing == 0:
            return mean_loss(logits, tasks.query_y)
        others = 1 - F.one_hot(tasks.query_y, tasks.way).to(logits.dtype)
        surprise_of_others = -(others * logits.log_softmax(-1)).sum(-1).mean() / (tasks.way - 1)
        return (1 - self.label_smoothing) * mean_loss(logits, tasks.query_y) + self.label_smoothing * surprise_of_others

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless` (equation 12)."""
        support, query = embed_together(self.backbone, support_x, query_x)
        exact = support.double()  # margins that differ in the 8th digit decide which examples support
        alpha = dual_coefficients(exact @ exact.mT, support_y, way, self.c).to(support.dtype)
        logits: Tensor = self.scale * (query @ support.mT @ alpha)
        return logits
