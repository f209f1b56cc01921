"""Whether a method's meta-gradient is of the order that it claims, found out at start on one tiny task.

A second-order method whose inner gradients are cut off somewhere trains without complaint, as a first-order one. What
cuts them is not always in sight: a compiled inner loss does, and some layers have a wrong second derivative under vmap.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.errors import UserError
from metarun.system.inputs import map_inputs
from metarun.tasks.batch import TaskBatch

EXAMPLES = 4  # in the support set, and in the query set
TOLERANCE = 1e-4  # of the meta-gradient's length; without its second order it is off by about the inner rate


def check_order(algorithm: Algorithm, tasks: TaskBatch) -> None:
    """Compare a method's meta-gradient with finite differences of its meta-loss, in float64; well under a second.

    The comparison is made on a copy, as it is run in meta-training, with a few examples of the tasks, since a network
    need not take others, and a little off the initial weights, whose shifts of 0 may lie just on kinks. A kink between
    two points makes a finite difference useless, so several distances and directions are tried, and agreement in one is
    enough: a wrong gradient agrees in none.

    Args:
        algorithm: one whose `order` is not None.
        tasks: of the kind it will get.

    Raises:
        UserError: it claims order 2 but its gradient is another, or order 1 but its gradient is the exact one.
    """
    with torch.random.fork_rng(devices=[tasks.device] if tasks.device.type == "cuda" else []):
        torch.manual_seed(0)
        method = copy.deepcopy(algorithm).double().train()
        method.on_step(1.0)  # the order in the end, where it rises on the way
        with torch.no_grad():
            for parameter in _learned(method):
                parameter.add_(0.01 * torch.randn_like(parameter))
        tiny = _tiny(tasks)
        adapted = method.predict(tiny, 1)
        if torch.allclose(adapted[0], adapted[-1], rtol=1e-12, atol=1e-12):
            return  # an inner rate of 0: both orders are the same
        gradient = _meta_gradient(method, tiny)
        if not gradient.isfinite().all() or not gradient.any():
            return  # the meta-training itself will tell
        try:
            other = _meta_gradient(_of_order(method, 3 - (method.order or 2)), tiny)
        except NotImplementedError:  # a layer has no second derivative, so no gradient goes through the inner steps
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
        # Steps that are taken once more draw other random numbers, such as dropout's.
        remedy = (
            "`algo.order=1` or `algo.recompute=false`" if getattr(algorithm, "recompute", False) else "`algo.order=1`"
        )
        raise UserError(
            f"algo.order=2 but the meta-gradient of {name} is not the slope of its meta-loss: "
            f"something cuts its inner gradients off or differentiates them wrongly",
            f"mend it, or set {remedy}.",
        )
    if algorithm.order == 1 and exact:
        raise UserError(
            f"algo.order=1 but the meta-gradient of {name} goes through its inner steps", "set `algo.order=2`."
        )


def _tiny(tasks: TaskBatch) -> TaskBatch:
    """One task with a few examples of the first of `tasks`, which come class by class; some twice, if it has few."""
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


def _of_order(method: Algorithm, order: int) -> Algorithm:
    changed = copy.deepcopy(method)
    changed.order = order
    return changed


def _learned(method: Algorithm) -> list[Tensor]:
    return [parameter for parameter in method.parameters() if parameter.requires_grad]


def _meta_loss(method: Algorithm, tasks: TaskBatch) -> Tensor:
    torch.manual_seed(0)  # so that dropout, where there is any, drops the same
    return method.meta_loss(tasks)


def _meta_gradient(method: Algorithm, tasks: TaskBatch) -> Tensor:
    loss = _meta_loss(method, tasks)
    gradients = torch.autograd.grad(loss, _learned(method), materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def _directions(gradient: Tensor, other: Tensor) -> Iterator[Tensor]:
    """Yield the direction in which the two orders differ, the gradient's own, and a random one, each of length 1."""
    for direction in (other - gradient, gradient, torch.randn_like(gradient)):
        if direction.any():
            yield direction / direction.norm()


def _agree(method: Algorithm, tasks: TaskBatch, gradient: Tensor, direction: Tensor, distance: float) -> bool:
    """Whether the gradient's slope along a direction is that between two points `distance` before and behind."""
    losses = []
    for side in (1, -1):
        moved = copy.deepcopy(method)
        with torch.no_grad():
            pieces = torch.split(direction, [parameter.numel() for parameter in _learned(moved)])
            for parameter, piece in zip(_learned(moved), pieces, strict=True):
                parameter.add_(side * distance * piece.view_as(parameter))
        with torch.no_grad():
            losses.append(_meta_loss(moved, tasks))
    slope = (losses[0] - losses[1]) / (2 * distance)
    rounding = 1e-14 * losses[0].abs() / distance
    return bool((slope - gradient @ direction).abs() <= TOLERANCE * gradient.norm() + rounding)
