"""Check that a method runs with a user's network, and gives the same results looped and vectorised over tasks.

Failures are not always errors: some layers have a wrong derivative under vmap, and a network may keep state between
tasks. The check is done at the start, in float64, on two small tasks of the data.
"""

import copy
import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metarun.algorithms import Algorithm
from metarun.backbones import Module
from metarun.errors import UserError, reason_of
from metarun.system.determinism import is_determinism_error
from metarun.system.memory import is_out_of_memory
from metarun.tasks.batch import TaskBatch
from metarun.tasks.vectorize import LOOPED, How, why_not_vectorised
from metarun.training.gradient_check import flat_gradient

log = logging.getLogger(__name__)

TASKS = 2
QUERIES = 2  # per class
TOLERANCE = 1e-7  # relative; rounding is far below, except where Reptile divides it by itself


def check_execution(algorithm: Algorithm, tasks: TaskBatch, steps: int, learns: bool) -> None:
    """Check a method with a network that is not metarun's; make it loop over tasks if it cannot be vectorised.

    Args:
        algorithm: its `how` becomes "loop" if it is "auto" and vectorised tasks fail or give other results.
        tasks: two tasks like those of the run.
        steps: of adaptation; at most one is checked.
        learns: whether to check training too, not only predictions.

    Raises:
        UserError: the method does not run, or `train.over_tasks=vectorised` is not possible.
    """
    if not _is_users(getattr(algorithm, "backbone", None)):
        return
    few = _few(tasks)
    checks: list[Callable[[Algorithm], Tensor]] = [lambda method: method.eval().predict(few, min(steps, 1))]
    if learns and algorithm.learns and any(weight.requires_grad for weight in algorithm.parameters()):
        checks.append(lambda method: _gradient(method.train(), few))
    for compute in checks:
        _compare(algorithm, compute)


def _compare(algorithm: Algorithm, compute: Callable[[Algorithm], Tensor]) -> None:
    how = algorithm.how
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        looped = _looped(algorithm, compute)
        is_random = not torch.equal(before, torch.get_rng_state())
        if how == "loop":
            return
        try:
            has_buffers = any(True for _ in algorithm.buffers())  # then training loops over tasks anyway
            vectorised = compute(_in_float64(algorithm, "auto" if has_buffers else "vectorised"))
        except Exception as error:
            reason = why_not_vectorised(error)
        else:
            distance = (vectorised - looped).norm()
            if is_random or not bool(looped.isfinite().all()) or bool(distance <= TOLERANCE * looped.norm()):
                return
            reason = "the results differ from a loop"
    if how == "vectorised":
        raise UserError(f"train.over_tasks=vectorised is not possible with this network: {reason}", "set it to `loop`.")
    log.info(LOOPED, reason)
    algorithm.how = "loop"


def _looped(algorithm: Algorithm, compute: Callable[[Algorithm], Tensor]) -> Tensor:
    try:
        return compute(_in_float64(algorithm, "loop"))
    except Exception as error:
        if isinstance(error, UserError) or is_out_of_memory(error) or is_determinism_error(error):
            raise
        backbone = algorithm.get_submodule("backbone")
        network = type(backbone.module if isinstance(backbone, Module) else backbone).__name__
        remedy = "set `algo.order=1` or choose" if algorithm.order == 2 else "choose"
        reason = reason_of(error).rstrip(".")
        raise UserError(
            f"{type(algorithm).__name__} does not run with {network}: {reason}", f"{remedy} another method or network."
        ) from error


def _gradient(method: Algorithm, tasks: TaskBatch) -> Tensor:
    loss = method.meta_loss(tasks)
    return torch.cat([loss.detach().flatten(), flat_gradient(method, loss)])


def _in_float64(algorithm: Algorithm, how: How) -> Algorithm:
    method = copy.deepcopy(algorithm).double()
    method.on_step(1.0)  # the final order, if it rises during training
    method.how = how
    return method


def _is_users(backbone: object) -> bool:
    """Whether a network is the user's: a `Module`, or with a part that is neither from metarun nor from torch."""
    parts = list(backbone.modules()) if isinstance(backbone, nn.Module) else []
    roots = {type(part).__module__.partition(".")[0] for part in parts}
    return not roots <= {"metarun", "torch"} or any(isinstance(part, Module) for part in parts)


def _few(tasks: TaskBatch) -> TaskBatch:
    """Return the tasks with a few queries of each class, in float64."""
    queries = tasks.query_y.shape[1]
    some = torch.arange(queries, device=tasks.device) % (queries // tasks.way) < QUERIES
    return tasks.with_queries(some).to(torch.float64)
