"""Check whether predictions depend on the other queries, by predicting queries together and one at a time."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.errors import RunFailed, UserError
from metarun.results.record_schema import LARGEST
from metarun.system.inputs import map_inputs
from metarun.system.progress import OnProgress
from metarun.tasks.batch import TaskBatch, chunks
from metarun.tasks.losses import correct, per_query_loss
from metarun.tasks.stream import TaskStream

QUERIES_PER_CLASS = 2  # in `check_predictions`
ASKED_QUERIES = 3  # queries of one task that `is_transductive` predicts alone
AT_ONCE = 16  # queries per batch in `audit`, each in a task of its own


@dataclass(frozen=True)
class Audit:
    """The effect of predicting every query of some tasks alone, after the last step.

    Args:
        tasks: number of audited tasks.
        queries: number of queries in all of them.
        changed: queries whose prediction changed at any step by more than float64 rounding.
        together: mean accuracy or squared error of the queries as in the meta-test; in regression of those with a
            finite prediction both ways.
        alone: the same for queries predicted one at a time.
        flipped: queries whose predicted class changed; None in regression.
    """

    tasks: int
    queries: int
    changed: int
    together: float
    alone: float
    flipped: int | None


def is_transductive(
    algorithm: Algorithm,
    stream: TaskStream,
    steps: int,
    check_interrupt: Callable[[], None] = lambda: None,
    first: int = 0,
) -> bool:
    """Whether a query's prediction depends on the other queries, checked in float64 on a few queries of one task.

    The support examples are also used as queries, so that there are enough of them. The task is number `first`; a task
    that diverges cannot be used, because it amplifies rounding.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    task = stream.draw(first, 1).to(torch.float64)
    every_x = map_inputs(lambda *both: torch.cat(both, 1), task.query_x, task.support_x)
    every = replace(task, query_x=every_x, query_y=torch.cat([task.query_y, task.support_y], 1))

    def predict(queries: slice) -> Tensor:
        check_interrupt()
        return algorithm.predict(every.with_queries(queries), steps)

    together = predict(slice(None))
    alone = [predict(slice(j, j + 1)) for j in range(min(ASKED_QUERIES, every.query_y.shape[1]))]
    return any(bool(_differs(one[:, :, 0], together[:, :, j]).any()) for j, one in enumerate(alone))


def check_predictions(algorithm: Algorithm, stream: TaskStream, steps: int) -> None:
    """Check that predictions do not depend on the order or the labels of the queries.

    Queries are sorted by class, so a method that uses their order predicts them without having learned anything. Some
    queries of a task are predicted again in reverse order with wrong labels, in float64, after at most one step.

    Raises:
        UserError: a prediction depends on the position of its query or on the labels of the queries.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    task = stream.draw(0, 1).to(torch.float64)
    queries = task.query_y.shape[1]
    task = task.with_queries(torch.arange(queries) % max(1, queries // task.way) < QUERIES_PER_CLASS)
    reverse = replace(task, query_x=map_inputs(lambda field: field.flip(1), task.query_x))  # query_y is not reversed
    steps = min(steps, 1)
    with torch.random.fork_rng():
        one, other = algorithm.predict(task, steps), algorithm.predict(reverse, steps).flip(2)
        if not bool((_differs(one, other) & one.isfinite().all(-1)).any()):
            return
        if bool(_differs(one, algorithm.predict(task, steps)).any()):
            return  # it draws random numbers, so this check does not apply
    raise UserError(
        f"the predictions of {type(algorithm).__name__} depend on the order or the labels of the queries, which are "
        "sorted by class, so that labels leak",
        "make `predict` use only `query_x`, whatever its order.",
    )


def audit(algorithm: Algorithm, stream: TaskStream, steps: int, tasks: Sequence[int], on_progress: OnProgress) -> Audit:
    """Predict every query of some tasks together with the others and alone, in float64.

    Args:
        algorithm: to audit; not changed.
        stream: of meta-test tasks.
        steps: of adaptation.
        tasks: their numbers, without tasks that diverge, which amplify rounding.
        on_progress: called after each task with the number of tasks done and the total; may raise to stop.

    Raises:
        RunFailed: no prediction is finite.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    all_together, all_alone, targets = [], [], []
    for done, i in enumerate(tasks, 1):
        task = stream.draw(i, 1).to(torch.float64)
        all_together.append(algorithm.predict(task, steps)[:, 0])  # (steps + 1, queries, way)
        pieces = [_each_query_alone(task, first, count) for first, count in chunks(task.query_y.shape[1], AT_ONCE)]
        all_alone.append(torch.cat([algorithm.predict(piece, steps)[:, :, 0] for piece in pieces], 1))
        targets.append(task.query_y[0])
        on_progress(done, len(tasks))
    together, alone, target = torch.cat(all_together, 1), torch.cat(all_alone, 1), torch.cat(targets)
    regression = target.is_floating_point()
    measure = per_query_loss if regression else correct
    value_together, value_alone = (measure(each[-1], target).double() for each in (together, alone))
    finite = (value_together < LARGEST) & (value_alone < LARGEST)
    if not finite.any():
        raise RunFailed(f"all {len(tasks)} audited tasks diverged; lower `test.steps`.")
    return Audit(
        tasks=len(tasks),
        queries=len(target),
        changed=int(_differs(alone, together).any(0).sum()),
        together=float(value_together[finite].mean()),
        alone=float(value_alone[finite].mean()),
        flipped=None if regression else int((alone[-1].argmax(-1) != together[-1].argmax(-1)).sum()),
    )


def _each_query_alone(task: TaskBatch, first: int, count: int) -> TaskBatch:
    """Return `count` copies of a task (T = 1), each with one of its queries, starting at `first`."""

    def copies(support: Tensor) -> Tensor:
        return support.expand(count, *support.shape[1:])

    def one_each(query: Tensor) -> Tensor:
        return query[0, first : first + count, None]

    support_x, query_x = map_inputs(copies, task.support_x), map_inputs(one_each, task.query_x)
    return TaskBatch(support_x, copies(task.support_y), query_x, one_each(task.query_y), task.way)


def _differs(one: Tensor, other: Tensor) -> Tensor:
    """Whether predictions (..., way) differ by more than rounding; two NaNs are equal."""
    return ~torch.isclose(one, other, rtol=1e-6, atol=1e-8, equal_nan=True).all(-1)
