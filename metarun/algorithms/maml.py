"""Model-agnostic meta-learning."""

from collections.abc import Iterator
from typing import Literal, Unpack

from torch import Tensor

from metarun.algorithms.adapters import AdaptOptions
from metarun.algorithms.hessian_products import recomputed_query_loss
from metarun.algorithms.inner_loop import (
    GradientMethod,
    LinearHeadMethod,
    Parameters,
    adapted_weights,
    gradient_steps,
    loss_of,
    query_loss_of_adapted,
)
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch


class MAML(LinearHeadMethod, GradientMethod):
    """MAML (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400).

    Learns initial weights from which a few gradient steps on a task's support set give a low loss on its query set. The
    outer gradient is taken through those steps (order 2), or is the gradient at the adapted weights (order 1,
    section 5.2).

    With `adapt` other than "all", tasks change only a part of the network; see `LinearHeadMethod`. Everything trained
    is meta-learned: the initial values of that part, and the rest, which is the same in all tasks.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the gradient steps.
        inner_steps: gradient steps per task in meta-training; 0 is the paper's pre-trained baseline, which learns all
            tasks at once and adapts only in the test.
        order: of the meta-gradient, 1 or 2.
        recompute: compute the second-order meta-gradient in the memory of one inner step; about a third slower.
        options: on what tasks change besides the head; see `LinearHeadMethod`.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        order: Literal[1, 2] = 2,
        recompute: bool = False,
        **options: Unpack[AdaptOptions],
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order, fewest_steps=0, **options)
        if recompute and order == 2 and self.adapted != "all":
            raise UserError(
                f"algo.recompute=true has no gradient for the weights that algo.adapt={self.adapted} leaves as they "
                "are",
                "set `algo.recompute=false`, or `algo.adapt=all`.",
            )
        self.inner_lr = inner_lr
        self.recompute = recompute

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights (algorithm 1, line 8)."""
        if self.recompute and self.order == 2 and self.inner_steps:
            return recomputed_query_loss(self, tasks, self.inner_steps, self.inner_lr)
        return query_loss_of_adapted(self, tasks, self.inner_steps, differentiable=self.order == 2)

    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """See `GradientMethod.inner_loop` (algorithm 1, line 6)."""
        loss, buffers = loss_of(self), dict(self.named_buffers())
        weights = adapted_weights(self)
        return gradient_steps(loss, weights, self.inner_lr, steps, differentiable, buffers, support_x, support_y)
