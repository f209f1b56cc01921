"""Whether queries see each other: found by predicting them alone and in company. Knows no algorithm, no data set."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.errors import RunFailed, UserError
from metarun.results.record_schema import LARGEST
from metarun.system.inputs import map_inputs
from metarun.tasks.batch import TaskBatch, chunks
from metarun.tasks.losses import correct, per_query_loss
from metarun.tasks.stream import TaskStream

PLACED = 2  # queries of a class that `check_predictions` asks about
ASKED = 3  # queries of one task that `is_transductive` predicts alone
AT_ONCE = 16  # queries that `audit` predicts in one batch, each in a task of its own


@dataclass(frozen=True)
class Audit:
    """What predicting every query of some tasks by itself changed, after the last step.

    Args:
        tasks: that were audited.
        queries: in all of them.
        changed: queries of which the prediction changed at any step, beyond float64's rounding.
        together: mean accuracy, or squared error, of the queries as they are judged; in regression of those whose
            prediction is a number both ways.
        alone: the same of the queries predicted one at a time.
        flipped: queries whose predicted class changed; None in regression.
    """

    tasks: int
    queries: int
    changed: int
    together: float
    alone: float
    flipped: int | None


def is_transductive(
    algorithm: Algorithm, stream: TaskStream, steps: int, pause: Callable[[], None] = lambda: None, first: int = 0
) -> bool:
    """Whether a query's prediction changes with the other queries, asked in float64 of a few queries of one task.

    The support examples are asked about as well, so that there is company however few queries a task has. The task is
    number `first`: one that diverges tells nothing, as it makes much of rounding.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    task = stream.draw(first, 1).to(torch.float64)
    every_x = map_inputs(lambda *both: torch.cat(both, 1), task.query_x, task.support_x)
    every = replace(task, query_x=every_x, query_y=torch.cat([task.query_y, task.support_y], 1))

    def predict(queries: slice) -> Tensor:
        pause()
        return algorithm.predict(every.with_queries(queries), steps)

    together = predict(slice(None))
    alone = [predict(slice(j, j + 1)) for j in range(min(ASKED, every.query_y.shape[1]))]
    return any(bool(_differs(one[:, :, 0], together[:, :, j]).any()) for j, one in enumerate(alone))


def check_predictions(algorithm: Algorithm, stream: TaskStream, steps: int) -> None:
    """Predict some queries of a task again in opposite order and beside wrong labels, in float64, after a step at most.

    Queries come class by class: a method that goes by their places has all of them right and has learned nothing.

    Raises:
        UserError: a prediction changes with the place of its query, or with the labels of the queries.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    task = stream.draw(0, 1).to(torch.float64)
    queries = task.query_y.shape[1]
    task = task.with_queries(torch.arange(queries) % (queries // task.way) < PLACED)
    opposite = replace(task, query_x=map_inputs(lambda field: field.flip(1), task.query_x))  # and query_y as it was
    steps = min(steps, 1)
    with torch.random.fork_rng():
        one, other = algorithm.predict(task, steps), algorithm.predict(opposite, steps).flip(2)
        if not bool((_differs(one, other) & one.isfinite().all(-1)).any()):
            return
        if bool(_differs(one, algorithm.predict(task, steps)).any()):
            return  # it draws random numbers, and cannot be asked so
    raise UserError(
        f"the predictions of {type(algorithm).__name__} change with the order or the labels of the queries, which come "
        "class by class, so that a place gives its label away",
        "let `predict` look at `query_x` alone and treat all places alike.",
    )


def audit(
    algorithm: Algorithm, stream: TaskStream, steps: int, tasks: Sequence[int], audited: Callable[[int, int], None]
) -> Audit:
    """Predict every query of some tasks of a stream in company and by itself, in float64.

    Args:
        algorithm: what is audited; it stays as it is.
        stream: of meta-test tasks.
        steps: of adaptation.
        tasks: their numbers; one that diverges tells nothing, as it makes much of rounding.
        audited: told after each task how many of how many are done; may raise to stop.

    Raises:
        RunFailed: no prediction of a query is a number.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    in_company, by_itself, targets = [], [], []
    for done, i in enumerate(tasks, 1):
        task = stream.draw(i, 1).to(torch.float64)
        in_company.append(algorithm.predict(task, steps)[:, 0])  # (steps + 1, queries, way)
        pieces = [_each_query_alone(task, first, count) for first, count in chunks(task.query_y.shape[1], AT_ONCE)]
        by_itself.append(torch.cat([algorithm.predict(piece, steps)[:, :, 0] for piece in pieces], 1))
        targets.append(task.query_y[0])
        audited(done, len(tasks))
    together, alone, target = torch.cat(in_company, 1), torch.cat(by_itself, 1), torch.cat(targets)
    regression = target.is_floating_point()
    judge = per_query_loss if regression else correct
    as_judged, by_themselves = (judge(each[-1], target).double() for each in (together, alone))
    known = (as_judged < LARGEST) & (by_themselves < LARGEST)
    if not known.any():
        raise RunFailed(f"all {len(tasks)} audited tasks diverged; lower `test.steps`.")
    return Audit(
        tasks=len(tasks),
        queries=len(target),
        changed=int(_differs(alone, together).any(0).sum()),
        together=float(as_judged[known].mean()),
        alone=float(by_themselves[known].mean()),
        flipped=None if regression else int((alone[-1].argmax(-1) != together[-1].argmax(-1)).sum()),
    )


def _each_query_alone(task: TaskBatch, first: int, count: int) -> TaskBatch:
    """Return `count` copies of a task (T = 1), each with one of its queries from `first` on."""

    def copies(support: Tensor) -> Tensor:
        return support.expand(count, *support.shape[1:])

    def one_each(query: Tensor) -> Tensor:
        return query[0, first : first + count, None]

    support_x, query_x = map_inputs(copies, task.support_x), map_inputs(one_each, task.query_x)
    return TaskBatch(support_x, copies(task.support_y), query_x, one_each(task.query_y), task.way)


def _differs(one: Tensor, other: Tensor) -> Tensor:
    """Whether predictions (..., way) differ by more than rounding; two that are no numbers do not."""
    return ~torch.isclose(one, other, rtol=1e-6, atol=1e-8, equal_nan=True).all(-1)
