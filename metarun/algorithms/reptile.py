"""Reptile: a first-order method whose outer step is not the gradient of a loss."""

from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.inner_loop import (
    GradientMethod,
    LinearHeadMethod,
    Parameters,
    constant_gradient,
    loss_with_weights,
    network_weights,
)
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.system.flat import flat, split_like
from metarun.system.inputs import Inputs, map_inputs
from metarun.system.limits import check_one_of
from metarun.tasks.batch import TaskBatch
from metarun.tasks.vectorize import over_tasks

ADAM_BETA2, ADAM_EPSILON = 0.999, 1e-8


class Reptile(LinearHeadMethod, GradientMethod):
    """Reptile (Nichol, Achiam, Schulman 2018, https://arxiv.org/abs/1803.02999).

    Trains on a task by several steps on minibatches, then moves the initial weights towards the adapted ones
    (algorithm 2): phi <- phi + epsilon * mean over tasks of (W - phi). To the outer loop this is SGD with rate epsilon
    on a loss whose gradient is phi - W, which `meta_loss` returns. Its value is the last inner loss.

    In meta-training a task has no query set: the inner loop trains on support and query examples (`train.shot` +
    `train.query` are the paper's train shots). As in the authors' code, Adam's second moments go from task to task: at
    zero, the first step would move every weight by the same distance, however small its gradient. One deviation:
    minibatches take the classes of a task in turn, so each has about the same number of every class.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the inner steps.
        inner_steps: steps per task in meta-training; a single one would be joint training on all tasks.
        inner_batch: examples per inner step in meta-training.
        test_batch: examples per step at meta-val and meta-test.
        inner_optimizer: adam (without momentum, beta1 = 0, as in the paper) or sgd.
    """

    optional_weights: ClassVar[tuple[str, ...]] = ("moments.",)

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        inner_batch: int,
        test_batch: int,
        inner_optimizer: Literal["adam", "sgd"] = "adam",
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order=None)
        if min(inner_batch, test_batch) < 1:
            raise UserError(
                f"algo.inner_batch={inner_batch}, algo.test_batch={test_batch} but both must be at least 1",
                "raise `algo.inner_batch` or `algo.test_batch`.",
            )
        check_one_of("algo.inner_optimizer", inner_optimizer, ("adam", "sgd"))
        self.inner_lr = inner_lr
        self.inner_batch = inner_batch
        self.test_batch = test_batch
        self.inner_optimizer = inner_optimizer
        self.moments = SecondMoments(flat(network_weights(self).values())) if inner_optimizer == "adam" else None
        self.sequential = self.moments is not None

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean last inner loss, with the mean of phi - W as its gradient (algorithm 2, line 7)."""

        def towards_adapted(x: Inputs, y: Tensor) -> Tensor:
            x, y = _in_turns(x, y, tasks.way)
            *_, last = self.train_on(x, y, self.inner_steps, self.inner_batch)
            if self.moments is not None and last.squares is not None:
                self.moments.replace(last.squares, self.inner_steps)
            initial = network_weights(self)
            surrogate = sum((w * (w - last.weights[name]).detach()).sum() for name, w in initial.items())
            return surrogate - surrogate.detach() + last.loss.detach()  # type: ignore[union-attr]

        x = map_inputs(lambda *both: torch.cat(both, 1), tasks.support_x, tasks.query_x)
        y = torch.cat([tasks.support_y, tasks.query_y], 1)
        return over_tasks(towards_adapted, self, self.how, x, y).mean()

    def inner_loop(
        self,
        support_x: Inputs,
        support_y: Tensor,
        steps: int,
        differentiable: bool,  # noqa: ARG002, the steps are never differentiated
    ) -> Iterator[Parameters]:
        """See `GradientMethod.inner_loop`; each step is on `test_batch` examples of the support set."""
        x, y = _in_turns(support_x, support_y, self.head.out_features)
        return (each.weights for each in self.train_on(x, y, steps, self.test_batch))

    def train_on(self, x: Inputs, y: Tensor, steps: int, batch: int) -> Iterator["Trained"]:
        """Yield one task's weights before and after each step.

        Args:
            x: (n, *shape); step k takes the k-th `batch` and starts over at the end.
            y: (n).
            steps: number of steps.
            batch: examples per step; all if there are fewer.
        """
        initial = {name: weight.detach() for name, weight in network_weights(self).items()}
        buffers = {name: value for name, value in self.named_buffers() if name.startswith("backbone.")}
        loss_of = partial(loss_with_weights, self.backbone)
        values, squares = flat(initial.values()), None if self.moments is None else self.moments.squares
        yield Trained(initial, self.head.weight.new_zeros(()), squares)
        for step in range(1, steps + 1):
            start = (step - 1) * batch
            rows = torch.arange(start, start + min(batch, len(y)), device=y.device) % len(y)
            batch_x = map_inputs(itemgetter(rows), x)
            found, loss = constant_gradient(loss_of, _like(initial, values), buffers, batch_x, y[rows])
            direction = flat(found.values())
            if self.moments is not None and squares is not None:
                squares = ADAM_BETA2 * squares + (1 - ADAM_BETA2) * direction**2
                unbiased = squares / (1 - ADAM_BETA2 ** (self.moments.steps + step).double()).to(squares.dtype)
                direction = direction / (unbiased.sqrt() + ADAM_EPSILON)
            values = values - self.inner_lr * direction
            yield Trained(_like(initial, values), loss, squares)


class Trained(NamedTuple):
    """The state of the inner loop: the weights, the loss of the step (0 before the first), Adam's second moments."""

    weights: Parameters
    loss: Tensor
    squares: Tensor | None


class SecondMoments(nn.Module):
    """Adam's running mean of squared gradients, which a task leaves to the next one.

    Attributes:
        squares: (numbers) of all weights, one after another.
        steps: taken so far, for the correction of the start at zero.
    """

    squares: Tensor
    steps: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("squares", torch.zeros_like(weights))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def replace(self, squares: Tensor, steps: int) -> None:
        """Store the moments after more steps."""
        self.squares.copy_(squares)
        self.steps += steps

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
        for name, value in self.named_buffers():  # missing in checkpoints of earlier versions
            state.setdefault(f"{prefix}{name}", torch.zeros_like(value))
        super()._load_from_state_dict(state, prefix, *others)


def _like(weights: Parameters, values: Tensor) -> Parameters:
    """Return values (numbers) in the shapes and under the names of weights."""
    return dict(zip(weights, split_like(values, [*weights.values()]), strict=True))


def _in_turns(x: Inputs, y: Tensor, way: int) -> tuple[Inputs, Tensor]:
    """Return the examples of one task so that its classes take turns; in regression there are none."""
    if y.is_floating_point():
        return x, y
    order = interleave_classes(y, way)
    return map_inputs(lambda field: field[order], x), y[order]


def interleave_classes(labels: Tensor, way: int) -> Tensor:
    """Return the order (n,) in which the examples of classes take turns, for labels (n,); classes may run out."""
    members = F.one_hot(labels, way)  # (n, way)
    turn = (members.cumsum(0) * members).sum(1)  # the number of examples of its class up to each, from 1
    return (turn * way + labels).argsort()
