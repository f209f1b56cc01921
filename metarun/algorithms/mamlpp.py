"""MAML++: MAML with changes that stabilise its training."""

from collections.abc import Iterator
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from metarun.algorithms.adapters import AdaptOptions
from metarun.algorithms.inner_loop import (
    GradientMethod,
    LinearHeadMethod,
    Parameters,
    adapted_weights,
    gradient_step,
    loss_of,
    mean_over_tasks,
    network_weights,
)
from metarun.backbones import Backbone, norm_weights
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch

MIN_SHARE = 0.03  # of a step's equal share in the multi-step loss, for all steps but the last, as in the authors' code


class MAMLPlusPlus(LinearHeadMethod, GradientMethod):
    """MAML++ (Antoniou, Edwards, Storkey 2019, https://arxiv.org/abs/1810.09502).

    MAML with learned inner rates, a loss after every inner step instead of only the last, and a scale and shift of the
    norm per step. Each part can be switched off (section 4); with all of them off it is MAML. The cosine schedule of
    the outer rate belongs to the outer loop: `train.lr_schedule`.

    Batch statistics per step need no switch: `backbone.norm=batch` uses those of the current forward pass, as in the
    authors' code. Deviation: schedules use the fraction of meta-training, not epochs.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: initial learning rate of the gradient steps.
        inner_steps: gradient steps per task in meta-training; further steps use what the last one learned.
        order: of the meta-gradient, 1 or 2.
        learn_rates: learn the inner rate of each layer's weight and bias for each step.
        multi_step_until: fraction of the training until which the losses after all steps count; the weights of all but
            the last decrease until then. 0: only the loss after the last step counts.
        per_step_norm: learn scale and shift of the norm for each step; they are not adapted to a task.
        second_order_from: fraction of the training until which the meta-gradient is of first order.
        options: on what tasks change besides the head; see `LinearHeadMethod`.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        order: Literal[1, 2] = 2,
        learn_rates: bool = True,
        multi_step_until: float = 0.1,
        per_step_norm: bool = True,
        second_order_from: float = 0.0,
        **options: Unpack[AdaptOptions],
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order, **options)
        for key, value in (("multi_step_until", multi_step_until), ("second_order_from", second_order_from)):
            if not 0 <= value <= 1:
                raise UserError(
                    f"algo.{key}={value} is not a fraction of the training",
                    f"set `algo.{key}` to a number from 0 to 1.",
                )
        self.multi_step_until = multi_step_until
        self.second_order_from = second_order_from
        self.fraction = 0.0  # of meta-training that is done
        if self.adapted == "norm" and per_step_norm:
            raise UserError(
                "algo.adapt=norm adapts the normalisation but algo.per_step_norm=true gives each step its own, which "
                "no task changes",
                "set `algo.per_step_norm=false`, or `algo.adapt=film`.",
            )
        weights = network_weights(self)
        norms = norm_weights(self) if per_step_norm else []
        self._of_steps = [name for name in norms if name in weights]  # weights that each step has its own of
        self._adapted = [name for name in adapted_weights(self) if name not in self._of_steps]
        rates = [torch.full((inner_steps,), float(inner_lr)) for _ in self._adapted]
        self.inner_lr = nn.ParameterList(nn.Parameter(rate, requires_grad=learn_rates) for rate in rates)
        # The first step uses the network's own.
        own = [weights[name].detach() for name in self._of_steps]
        later = [weight.expand(inner_steps - 1, *weight.shape).clone() for weight in own]
        self.later_norms = nn.ParameterList(later)

    def on_step(self, fraction: float) -> None:
        """Anneal the multi-step loss and the order of the meta-gradient."""
        self.fraction = fraction

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the weighted query loss after each inner step (equation 2)."""
        importance = self.importance()

        def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
            differentiable = self.order == 2 and self.fraction >= self.second_order_from
            _, *trail = self.inner_loop(support_x, support_y, self.inner_steps, differentiable)
            buffers = dict(self.named_buffers())
            losses = [
                share * loss_of(self)(weights, buffers, query_x, query_y, support_x)
                for share, weights in zip(importance, trail, strict=True)
                if share
            ]
            return torch.stack(losses).sum()

        return mean_over_tasks(self, query_loss, tasks)

    def importance(self) -> list[float]:
        """Return the current weight of the query loss after each inner step; they sum to 1 (section 4)."""
        steps = self.inner_steps
        if self.fraction >= self.multi_step_until:
            return [0.0] * (steps - 1) + [1.0]
        each = max(1 - self.fraction / self.multi_step_until, MIN_SHARE) / steps
        return [each] * (steps - 1) + [1 - (steps - 1) * each]

    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """See `GradientMethod.inner_loop`; the weights include the norm of each step."""
        weights = adapted_weights(self)
        adapted = {name: weights[name] for name in self._adapted}
        buffers = dict(self.named_buffers())  # running statistics, which a forward pass in meta-training updates

        def loss(adapted: Parameters, norms: Parameters, *inputs: Any) -> Tensor:
            return loss_of(self)({**adapted, **norms}, *inputs)

        yield {**adapted, **self._norms(0)}
        for step in (min(step, self.inner_steps - 1) for step in range(steps)):
            rates = {name: rate[step] for name, rate in zip(self._adapted, self.inner_lr, strict=True)}
            norms = self._norms(step)
            adapted = gradient_step(loss, adapted, rates, differentiable, norms, buffers, support_x, support_y)
            yield {**adapted, **norms}

    def _norms(self, step: int) -> Parameters:
        """Return the scales and shifts of a step, which predicts queries with them too, as in the authors' code."""
        if step == 0:
            weights = network_weights(self)
            return {name: weights[name] for name in self._of_steps}
        return {name: later[step - 1] for name, later in zip(self._of_steps, self.later_norms, strict=True)}
