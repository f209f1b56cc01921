"""Meta-SGD: MAML that learns its inner learning rates."""

from collections.abc import Iterable, Iterator
from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from metarun.algorithms.adapters import AdaptOptions
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


class MetaSGD(LinearHeadMethod, GradientMethod):
    """Meta-SGD (Li, Zhou, Chen, Li 2017, https://arxiv.org/abs/1707.09835).

    Learns the initial weights and one inner rate for each of them: the vector of rates determines both the length and
    the direction of the inner step (equation 2). Rates may become negative.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr_min: lower limit of the initial rates, which are uniformly random.
        inner_lr_max: upper limit of the initial rates; equal limits give all rates that value.
        inner_steps: gradient steps per task in meta-training; 1 in the paper.
        order: of the meta-gradient, 1 or 2; the rates are learned either way.
        options: on what tasks change besides the head; see `LinearHeadMethod`.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr_min: float = 0.005,
        inner_lr_max: float = 0.1,
        inner_steps: int = 1,
        order: Literal[1, 2] = 2,
        **options: Unpack[AdaptOptions],
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order, **options)
        self.inner_lr = random_rates(adapted_weights(self).values(), inner_lr_min, inner_lr_max)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights (equation 3)."""
        return query_loss_of_adapted(self, tasks, self.inner_steps, differentiable=self.order == 2)

    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """See `GradientMethod.inner_loop` (equation 2)."""
        loss, buffers = loss_of(self), dict(self.named_buffers())
        weights = adapted_weights(self)
        rates = dict(zip(weights, self.inner_lr, strict=True))
        return gradient_steps(loss, weights, rates, steps, differentiable, buffers, support_x, support_y)


def random_rates(weights: Iterable[Tensor], lowest: float, highest: float) -> nn.ParameterList:
    """Return a learned rate for each weight, uniformly random; raise a UserError if the limits are swapped."""
    if lowest > highest:
        raise UserError(
            f"algo.inner_lr_min={lowest} is above algo.inner_lr_max={highest}", "lower `algo.inner_lr_min`."
        )
    return nn.ParameterList(torch.empty_like(weight).uniform_(lowest, highest) for weight in weights)
