"""Check at the start, on one tiny task, that a method's meta-gradient has the order that it claims.

A second-order method whose inner gradients are detached trains without an error, as a first-order one. The cause is not
always visible: compiled inner losses detach them, and some layers have a wrong second derivative under vmap.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.errors import UserError
from metarun.system.flat import flat, split_like
from metarun.system.inputs import map_inputs
from metarun.tasks.batch import TaskBatch

EXAMPLES = 4  # in the support set, and in the query set
TOLERANCE = 1e-4  # relative to the meta-gradient's norm; without second order the error is about the inner rate


def check_order(algorithm: Algorithm, tasks: TaskBatch) -> None:
    """Compare a method's meta-gradient with finite differences of its meta-loss, in float64; well under a second.

    The check uses a copy in training mode and a few examples of the tasks, since a network may not accept others. It is
    done near the initial weights, not at them, because biases of 0 may lie on kinks. A kink between two points makes a
    finite difference useless, so several distances and directions are tried, and one match is enough: a wrong gradient
    matches in none.

    Args:
        algorithm: with an `order` that is not None.
        tasks: like those in training.

    Raises:
        UserError: it claims order 2 but its gradient is wrong, or order 1 but its gradient is exact.
    """
    with torch.random.fork_rng(devices=[tasks.device] if tasks.device.type == "cuda" else []):
        torch.manual_seed(0)
        method = copy.deepcopy(algorithm).double().train()
        method.on_step(1.0)  # the final order, if it rises during training
        with torch.no_grad():
            for parameter in _learned(method):
                parameter.add_(0.01 * torch.randn_like(parameter))
        tiny = _tiny(tasks)
        adapted = method.predict(tiny, 1)
        if torch.allclose(adapted[0], adapted[-1], rtol=1e-12, atol=1e-12):
            return  # the inner rate is 0, so both orders are equal
        gradient = _meta_gradient(method, tiny)
        if not gradient.isfinite().all() or not gradient.any():
            return  # meta-training will report this
        of_other_order = copy.deepcopy(method)
        of_other_order.order = 3 - (method.order or 2)
        try:
            other = _meta_gradient(of_other_order, tiny)
        except NotImplementedError:  # a layer has no second derivative: not second-order
            return
        if algorithm.order == 1 and not torch.equal(gradient, other):
            return
        exact = any(
            _agree(method, tiny, gradient, direction, distance)
            for direction in _directions(gradient, other)
            for distance in (1e-6, 1e-5, 1e-7)
        )
    name = type(algorithm).__name__
    if algorithm.order == 2 and not exact:
        # Recomputed steps draw other random numbers, such as those of dropout.
        exact_steps = " or `algo.recompute=false`" if getattr(algorithm, "recompute", False) else ""
        raise UserError(
            f"algo.order=2 but the meta-gradient of {name} does not match finite differences: its inner "
            "gradients are detached or wrong",
            f"fix them, or set `algo.order=1`{exact_steps}.",
        )
    if algorithm.order == 1 and exact:
        raise UserError(f"algo.order=1 but the meta-gradient of {name} is second-order", "set `algo.order=2`.")


def _tiny(tasks: TaskBatch) -> TaskBatch:
    """Return a task with a few examples of the first of `tasks`, which are sorted by class; some twice if needed."""
    tasks = tasks.to(torch.float64)
    y = torch.cat([tasks.support_y[0], tasks.query_y[0]])
    support = torch.arange(EXAMPLES, device=y.device) * len(y) // EXAMPLES
    query = (support + len(y) // (2 * EXAMPLES)) % len(y)
    x = map_inputs(lambda *both: torch.cat([field[0] for field in both]), tasks.support_x, tasks.query_x)
    support_x, query_x = (map_inputs(lambda field, at=at: field[at][None], x) for at in (support, query))
    if tasks.regression:
        return TaskBatch(support_x, y[support][None], query_x, y[query][None], tasks.way)
    labels = (torch.arange(EXAMPLES, device=y.device) % tasks.way)[None]
    return TaskBatch(support_x, labels, query_x, labels, tasks.way)


def _learned(method: Algorithm) -> list[Tensor]:
    return [parameter for parameter in method.parameters() if parameter.requires_grad]


def _meta_loss(method: Algorithm, tasks: TaskBatch) -> Tensor:
    torch.manual_seed(0)  # so that dropout, if any, drops the same units
    return method.meta_loss(tasks)


def _meta_gradient(method: Algorithm, tasks: TaskBatch) -> Tensor:
    return flat_gradient(method, _meta_loss(method, tasks))


def flat_gradient(method: Algorithm, loss: Tensor) -> Tensor:
    """Return the gradient of a loss with respect to all that a method learns, as one vector."""
    return flat(torch.autograd.grad(loss, _learned(method), materialize_grads=True))


def _directions(gradient: Tensor, other: Tensor) -> Iterator[Tensor]:
    """Yield unit vectors: the difference of the two orders, the gradient, and a random one."""
    for direction in (other - gradient, gradient, torch.randn_like(gradient)):
        if direction.any():
            yield direction / direction.norm()


def _agree(method: Algorithm, tasks: TaskBatch, gradient: Tensor, direction: Tensor, distance: float) -> bool:
    """Whether the gradient along a direction matches a central finite difference with step `distance`."""
    losses = []
    for side in (1, -1):
        moved = copy.deepcopy(method)
        with torch.no_grad():
            for parameter, piece in zip(_learned(moved), split_like(direction, _learned(moved)), strict=True):
                parameter.add_(side * distance * piece)
        with torch.no_grad():
            losses.append(_meta_loss(moved, tasks))
    slope = (losses[0] - losses[1]) / (2 * distance)
    rounding = 1e-14 * losses[0].abs() / distance
    return bool((slope - gradient @ direction).abs() <= TOLERANCE * gradient.norm() + rounding)
