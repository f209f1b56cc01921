"""Whether a method runs with a network of the user's own, and comes to the same looped over tasks and vectorised.

What keeps it from that is not always an error: some layers have a wrong derivative under vmap, and a network may keep
something from task to task. It is asked at the start, in float64, of two small tasks of the data.
"""

import copy
import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from metarun.algorithms import Algorithm
from metarun.backbones import Module
from metarun.errors import UserError
from metarun.system.determinism import refused
from metarun.system.memory import ran_out
from metarun.tasks.batch import TaskBatch
from metarun.tasks.vectorize import LOOPED, How, reason_against

log = logging.getLogger(__name__)

TASKS = 2
QUERIES = 2  # of a class
TOLERANCE = 1e-7  # of what comes out; rounding is far below, but where Reptile divides it by itself


def check_ways(algorithm: Algorithm, tasks: TaskBatch, steps: int, learns: bool) -> None:
    """Try a method on a network that is not metarun's own; have it loop over tasks where it cannot be vectorised.

    Args:
        algorithm: its `how` becomes "loop" if it is "auto" and vectorised tasks are an error or come to something else.
        tasks: two, of the kind it will get.
        steps: of adaptation, of which one is tried.
        learns: whether it is to be trained too; else only its predictions are tried.

    Raises:
        UserError: it does not run, or `train.over_tasks=vectorised` was asked for and cannot be.
    """
    if not _is_of_somebody(getattr(algorithm, "backbone", None)):
        return
    few = _few(tasks)
    asked: list[Callable[[Algorithm], Tensor]] = [lambda method: method.eval().predict(few, min(steps, 1))]
    if learns and algorithm.learns and any(weight.requires_grad for weight in algorithm.parameters()):
        asked.append(lambda method: _gradient(method.train(), few))
    for ask in asked:
        _check_one(algorithm, ask)


def _check_one(algorithm: Algorithm, ask: Callable[[Algorithm], Tensor]) -> None:
    how = algorithm.how
    with torch.random.fork_rng(devices=[]):
        begin = torch.get_rng_state()
        looped = _looped(algorithm, ask)
        is_random = not torch.equal(begin, torch.get_rng_state())
        if how == "loop":
            return
        try:
            vectorised = ask(_in_float64(algorithm, "auto" if _gathers(algorithm) else "vectorised"))
        except Exception as error:
            reason = reason_against(error)
        else:
            distance = (vectorised - looped).norm()
            if is_random or not bool(looped.isfinite().all()) or bool(distance <= TOLERANCE * looped.norm()):
                return
            reason = "they come to something else than one by one"
    if how == "vectorised":
        raise UserError(f"train.over_tasks=vectorised cannot be with this network: {reason}", "set it to `loop`.")
    log.info(LOOPED, reason)
    algorithm.how = "loop"


def _looped(algorithm: Algorithm, ask: Callable[[Algorithm], Tensor]) -> Tensor:
    try:
        return ask(_in_float64(algorithm, "loop"))
    except Exception as error:
        if isinstance(error, UserError) or ran_out(error) or refused(error):
            raise
        backbone = algorithm.get_submodule("backbone")
        network = type(backbone.module if isinstance(backbone, Module) else backbone).__name__
        remedy = "set `algo.order=1` or choose" if algorithm.order == 2 else "choose"
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UserError(
            f"{type(algorithm).__name__} cannot be run with {network}: {reason}", f"{remedy} another method or network."
        ) from error


def _gradient(method: Algorithm, tasks: TaskBatch) -> Tensor:
    learned = [weight for weight in method.parameters() if weight.requires_grad]
    loss = method.meta_loss(tasks)
    gradients = torch.autograd.grad(loss, learned, materialize_grads=True)
    return torch.cat([loss.detach().flatten(), *(gradient.flatten() for gradient in gradients)])


def _in_float64(algorithm: Algorithm, how: How) -> Algorithm:
    method = copy.deepcopy(algorithm).double()
    method.on_step(1.0)  # the order in the end, where it rises on the way
    method.how = how
    return method


def _gathers(algorithm: Algorithm) -> bool:
    """Whether it gathers running statistics when it is trained, for which tasks are looped over anyway."""
    return any(True for _ in algorithm.buffers())


def _is_of_somebody(backbone: object) -> bool:
    """Whether a network is not metarun's: it is in a `Module`, or has a part that is neither metarun's nor torch's."""
    parts = list(backbone.modules()) if isinstance(backbone, nn.Module) else []
    roots = {type(part).__module__.partition(".")[0] for part in parts}
    return not roots <= {"metarun", "torch"} or any(isinstance(part, Module) for part in parts)


def _few(tasks: TaskBatch) -> TaskBatch:
    """The same tasks with a few queries of each class, in float64."""
    queries = tasks.query_y.shape[1]
    some = torch.arange(queries, device=tasks.device) % (queries // tasks.way) < QUERIES
    return tasks.with_queries(some).to(torch.float64)
