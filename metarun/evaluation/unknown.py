"""Does a method notice that a query is of no class of its task? The AUROC of its score, task by task."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.evaluation.evaluate import CHUNK_FEATURES, Evaluation, evaluate_equal, shape_by_shape
from metarun.evaluation.feature_cache import on_cached_features
from metarun.evaluation.floor import floor
from metarun.results.metrics import ACCURACY
from metarun.system.progress import OnProgress, ignore_progress
from metarun.tasks.batch import TaskBatch
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.losses import known_score
from metarun.tasks.stream import TaskStream
from metarun.tasks.unknown_queries import UnknownQueries, WithUnknown

Predict = Callable[[TaskBatch], Tensor]


def auroc(known: Tensor, unknown: Tensor) -> Tensor:
    """Return (...) the area under the ROC curve: how often a known query scores higher than an unknown one.

    A tie counts one half, as in the Mann-Whitney U statistic (Hanley and McNeil 1982).

    Args:
        known: (..., n) scores, higher for queries that seem to be of a class of the task.
        unknown: (..., m) scores.
    """
    one, other = known[..., :, None], unknown[..., None, :]
    return ((one > other).double() + (one == other).double() / 2).mean((-2, -1))


def evaluate_unknown(
    algorithm: Algorithm,
    stream: TaskStream,
    tasks: int,
    steps: int,
    unknown: UnknownQueries,
    features: dict[str, Tensor],
    on_progress: OnProgress = ignore_progress,
) -> Tensor:
    """Return (steps + 1, tasks) the AUROC of each task before adaptation and after each step.

    The unknown queries are predicted together with the others, as they would come. Accuracy is not affected: it is
    measured without them.

    Args:
        algorithm: with the evaluated weights.
        stream: of tasks.
        tasks: how many of them.
        steps: of adaptation.
        unknown: which unknown queries each task has.
        features: a cache for `on_cached_features`.
        on_progress: called with the number of tasks done and the total.
    """
    algorithm.eval()

    def of_features(part: ClassTaskStream, tasks: int) -> tuple[Predict, ClassTaskStream, int | None]:
        found = None
        if unknown.kind == "unknown":  # those out of scope are not among the features of the split
            found = on_cached_features(algorithm, part, tasks, lambda: on_progress(0, tasks), features)
        if found is None:
            return partial(algorithm.predict, steps=steps), part, None
        on, embedded = found
        assert isinstance(embedded, ClassTaskStream)
        return partial(on.predict, steps=steps), embedded, CHUNK_FEATURES

    return _evaluate(of_features, stream, tasks, unknown, on_progress)


def floor_unknown(
    stream: TaskStream, tasks: int, unknown: UnknownQueries, on_progress: OnProgress = ignore_progress
) -> Tensor:
    """Return (1, tasks) the AUROC of the floor: of the distance to the nearest centroid of raw inputs."""
    predict = partial(floor, vectors=stream.floor_vectors)
    return _evaluate(lambda part, _: (predict, part, None), stream, tasks, unknown, on_progress)


def _evaluate(
    prepare: Callable[[ClassTaskStream, int], tuple[Predict, ClassTaskStream, int | None]],
    stream: TaskStream,
    tasks: int,
    unknown: UnknownQueries,
    on_progress: OnProgress,
) -> Tensor:
    def evaluate_part(part: TaskStream, count: int, on_progress: OnProgress) -> Evaluation:
        assert isinstance(part, ClassTaskStream)
        predict, prepared, at_once = prepare(part, count)
        return evaluate_equal(predict, WithUnknown(prepared, unknown), count, on_progress, at_once, _measure)

    return shape_by_shape(evaluate_part, stream, tasks, on_progress).values["auroc"]


@torch.no_grad()
def _measure(predict: Predict, batch: TaskBatch) -> Evaluation:
    scores = known_score(predict(batch))  # (steps + 1, T, queries)
    is_known = batch.query_y[0] >= 0  # the same places in every task
    return Evaluation({"auroc": auroc(scores[..., is_known], scores[..., ~is_known]).cpu()}, ACCURACY)
