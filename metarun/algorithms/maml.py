"""Model-agnostic meta-learning."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from torch import Tensor

from metarun.algorithms.inner_loop import (
    GradientMethod,
    LinearHeadMethod,
    Parameters,
    gradient_steps,
    loss_with_weights,
    network_weights,
    query_loss_of_adapted,
    recomputed_query_loss,
)
from metarun.backbones import Backbone
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch


class MAML(LinearHeadMethod, GradientMethod):
    """MAML (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400).

    Learns initial weights from which a few gradient steps on a task's support set give a low loss on its query set. The
    outer gradient is taken through those steps (order 2), or is the gradient at the adapted weights (order 1,
    section 5.2).

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the gradient steps.
        inner_steps: gradient steps per task in meta-training.
        order: of the meta-gradient, 1 or 2.
        recompute: compute the second-order meta-gradient in the memory of one inner step; about a third slower.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        order: Literal[1, 2] = 2,
        recompute: bool = False,
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order)
        self.inner_lr = inner_lr
        self.recompute = recompute

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights (algorithm 1, line 8)."""
        if self.recompute and self.order == 2:
            return recomputed_query_loss(self, tasks, self.inner_steps, self.inner_lr)
        return query_loss_of_adapted(self, tasks, self.inner_steps, differentiable=self.order == 2)

    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """See `GradientMethod.inner_loop` (algorithm 1, line 6)."""
        loss, buffers = partial(loss_with_weights, self.backbone), dict(self.named_buffers())
        weights = network_weights(self)
        return gradient_steps(loss, weights, self.inner_lr, steps, differentiable, buffers, support_x, support_y)
