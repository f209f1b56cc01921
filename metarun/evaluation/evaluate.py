"""Evaluate an algorithm on held-out tasks, independent of the algorithm, the data set and the display."""

import copy
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.evaluation.chunks import in_chunks
from metarun.evaluation.feature_cache import on_cached_features
from metarun.evaluation.timing import fastest_ms
from metarun.results.metrics import ACCURACY, MSE, Metric
from metarun.results.record_schema import LARGEST
from metarun.system.progress import OnProgress, ignore_progress
from metarun.tasks.batch import TaskBatch
from metarun.tasks.episode_stream import EpisodeStream
from metarun.tasks.losses import brier_score, calibration_gaps, confidence, correct, per_query_loss
from metarun.tasks.mixture_stream import EachSetStream
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import VaryingTaskStream, by_shape

log = logging.getLogger(__name__)

# How much goes through the network at once. More is slower on a CPU, and memory grows with the image area.
CHUNK_EXAMPLES = 1024
CHUNK_PIXELS = CHUNK_EXAMPLES * 28 * 28
CHUNK_FEATURES = 8192  # examples at once if their features are cached
TIMED_TASKS = 15  # of which the fastest is reported


@dataclass(frozen=True)
class Evaluation:
    """Measurements on each of T tasks, before adaptation and after each step.

    Args:
        values: (steps + 1, T) each, by column of `tasks.parquet`, means over the queries: `loss`, cross-entropy in nats
            or squared error; in classification also `accuracy` and `confidence`, the probability of the predicted
            class, in [0, 1].
        metric: the one that counts.
        final: (T, ...) each, after the last step, in classification: `brier`, the mean Brier score over the queries,
            and `gaps` (T, 15), those of `calibration_gaps`. If all tasks are of one shape, also `true` and `predicted`
            (T, queries), the index within the split of the class of each query and of the predicted class, -1 if there
            is no finite prediction.
    """

    values: Mapping[str, Tensor]
    metric: Metric
    final: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor:
        """(steps + 1, T) the loss."""
        return self.values["loss"]

    @property
    def diverged(self) -> Tensor:
        """(T,) bool: whether the loss is not finite or not below `LARGEST`, before adaptation or after any step."""
        return ~(self.loss < LARGEST).all(0)

    @property
    def headline(self) -> Tensor:
        """The metric after the last step.

        Returns:
            (T,) the accuracy of each task, with queries without a finite prediction as wrong; or the squared error of
            each task that did not diverge.
        """
        values = self.values[self.metric.column][-1]
        return values if self.metric.counts_diverged else values[~self.diverged]

    @property
    def loss_by_step(self) -> list[float]:
        """The mean loss of tasks that did not diverge, before adaptation and after each step; empty if all diverged."""
        finite = ~self.diverged
        return self.loss[:, finite].double().mean(1).tolist() if finite.any() else []

    @property
    def median(self) -> float | None:
        """The median squared error over all tasks, with diverged tasks as infinite.

        None in other kinds of task than regression, and if the median is not finite.
        """
        if self.metric is not MSE:
            return None
        median = float(self.loss[-1].double().masked_fill(self.diverged, math.inf).quantile(0.5))
        return median if math.isfinite(median) else None

    @property
    def score(self) -> float:
        """The mean headline, signed so that higher is better.

        -inf if all tasks diverged, or if any diverged and diverged tasks do not count.
        """
        diverged = self.diverged
        if bool(diverged.all()) or (not self.metric.counts_diverged and bool(diverged.any())):
            return -math.inf
        return self.metric.score(float(self.headline.double().mean()))


Measure = Callable[[Callable[[TaskBatch], Tensor], TaskBatch], Evaluation]


def evaluate(
    algorithm: Algorithm,
    stream: TaskStream,
    tasks: int,
    steps: int,
    on_progress: OnProgress = ignore_progress,
    features: dict[str, Tensor] | None = None,
    every_step: bool = True,
) -> Evaluation:
    """Evaluate an algorithm on the first `tasks` of a stream.

    Args:
        algorithm: to evaluate.
        stream: of tasks.
        tasks: how many.
        steps: of adaptation, for methods that take steps.
        on_progress: called after each chunk with the number of tasks done and the total.
        features: a cache for `on_cached_features`.
        every_step: evaluate before adaptation and after each step; else only after the last one, which saves most
            of the time where there are many queries.
    """
    algorithm.eval()
    kept = {} if features is None else features
    for each in stream.streams.values() if isinstance(stream, EachSetStream) else [stream]:
        if isinstance(each, VaryingTaskStream | EpisodeStream):
            algorithm = copy.copy(algorithm)
            algorithm.how = "loop"  # which way is faster would be measured for each of a hundred shapes
        if isinstance(each, VaryingTaskStream):
            on_cached_features(algorithm, each.largest, tasks, lambda: on_progress(0, tasks), kept)  # for all shapes

    def predictions_of(method: Algorithm) -> Callable[[TaskBatch], Tensor]:
        if every_step or type(method).predict is not Algorithm.predict:  # a user's own takes no more arguments
            return lambda batch: method.predict(batch, steps)
        return lambda batch: method.predict(batch, steps, every_step=False)

    def evaluate_part(part: TaskStream, tasks: int, on_progress: OnProgress) -> Evaluation:
        of_features = on_cached_features(algorithm, part, tasks, lambda: on_progress(0, tasks), kept)
        if of_features is None:
            return evaluate_equal(predictions_of(algorithm), part, tasks, on_progress)
        on, embedded = of_features
        return evaluate_equal(predictions_of(on), embedded, tasks, on_progress, CHUNK_FEATURES)

    return shape_by_shape(evaluate_part, stream, tasks, on_progress)


def evaluate_predictions(
    predict: Callable[[TaskBatch], Tensor], stream: TaskStream, tasks: int, on_progress: OnProgress = ignore_progress
) -> Evaluation:
    """Evaluate predictions on the first `tasks` of a stream, in chunks that do not affect each other.

    Args:
        predict: returns (steps + 1, T, queries, way), like `Algorithm.predict`.
        stream: of tasks.
        tasks: how many.
        on_progress: called after each chunk with the number of tasks done and the total.
    """
    return shape_by_shape(lambda *part: evaluate_equal(predict, *part), stream, tasks, on_progress)


def shape_by_shape(
    evaluate_part: Callable[[TaskStream, int, OnProgress], Evaluation],
    stream: TaskStream,
    tasks: int,
    on_progress: OnProgress,
) -> Evaluation:
    """Evaluate the tasks of each shape together; return the values in the order of the stream."""
    found: list[Evaluation] = []
    parts, done = by_shape(stream, tasks), 0
    for part, numbers in parts:

        def of_all(of_part: int, _: int, before: int = done) -> None:
            on_progress(before + of_part, tasks)

        found.append(evaluate_part(part, len(numbers), of_all))
        done += len(numbers)
    order = torch.cat([numbers for _, numbers in parts]).argsort()
    columns = {name: torch.cat([each.values[name] for each in found], 1)[:, order] for name in found[0].values}
    alike = [name for name, first in found[0].final.items() if all(_fits(each, name, first) for each in found)]
    final = {name: torch.cat([each.final[name] for each in found])[order] for name in alike}
    return Evaluation(columns, found[0].metric, final)


def _fits(found: Evaluation, name: str, other: Tensor) -> bool:
    """Whether a final value is there, and as wide as another one."""
    return name in found.final and found.final[name].shape[1:] == other.shape[1:]


def evaluate_equal(
    predict: Callable[[TaskBatch], Tensor],
    stream: TaskStream,
    tasks: int,
    on_progress: OnProgress,
    at_once: int | None = None,
    measure: Measure | None = None,
) -> Evaluation:
    """Evaluate predictions on tasks of one shape, in chunks of `at_once` examples; default: `CHUNK_EXAMPLES`."""
    measure = measure or _measure
    found = in_chunks(
        lambda first, count: measure(predict, stream.draw(first, count)),
        tasks,
        tasks_at_once(stream, at_once or CHUNK_EXAMPLES),
        lambda: (
            f"one task does not fit in memory; lower {stream.shape.knob('way', 'query', between=', ')} or "
            "`backbone.filters`, or use a device with more memory."
        ),
        on_progress,
    )
    columns = {name: torch.cat([part.values[name] for part in found], dim=1) for name in found[0].values}
    final = {name: torch.cat([part.final[name] for part in found]) for name in found[0].final}
    return Evaluation(columns, found[0].metric, final)


def tasks_at_once(stream: TaskStream, examples: int) -> int:
    """Return how many tasks fit in a chunk of `examples` examples; at least one."""
    shape = stream.shape
    area = stream.draw(0, 1).example_shape[1:].numel()  # pixels of an example; 1 if it is not an image
    return max(1, min(examples, CHUNK_PIXELS // area) // (shape.way * (shape.shot + shape.query)))


@torch.no_grad()
def _measure(predict: Callable[[TaskBatch], Tensor], batch: TaskBatch) -> Evaluation:
    predictions = predict(batch)  # (steps + 1, T, queries, way)
    targets = batch.query_y.expand(len(predictions), *batch.query_y.shape)
    per_query = {"loss": per_query_loss(predictions, targets)}
    if targets.is_floating_point():
        return Evaluation({name: each.mean(-1).cpu() for name, each in per_query.items()}, MSE)
    right = correct(predictions, targets)
    per_query |= {"accuracy": right.double(), "confidence": confidence(predictions)}
    final = {
        "brier": brier_score(predictions[-1], targets[-1]).mean(-1).cpu(),
        "gaps": calibration_gaps(per_query["confidence"][-1], right[-1]).cpu(),
        **_classes(batch, predictions[-1]),
    }
    return Evaluation({name: each.mean(-1).cpu() for name, each in per_query.items()}, ACCURACY, final)


def _classes(batch: TaskBatch, predictions: Tensor) -> dict[str, Tensor]:
    """Return the classes of the queries (T, queries) and those predicted; nothing if the stream does not name them."""
    if batch.classes is None or int(batch.query_y.min()) < 0:
        return {}
    predicted = batch.classes.gather(1, predictions.argmax(-1))
    predicted = predicted.where(predictions.amax(-1).isfinite(), -1)
    return {"true": batch.classes.gather(1, batch.query_y).cpu(), "predicted": predicted.cpu()}


def adaptation_ms(
    algorithm: Algorithm,
    stream: TaskStream,
    steps: int,
    check_interrupt: Callable[[], None] = lambda: None,
    repeats: int | None = None,
) -> tuple[float, float]:
    """Return the milliseconds from one task's examples to its predictions, including all steps; see `fastest_ms`."""
    algorithm.eval()

    def draw(number: int) -> TaskBatch:
        check_interrupt()
        return stream.draw(number, 1)

    return fastest_ms(lambda task: algorithm.predict(task, steps), draw, warm_up=2, repeats=repeats or TIMED_TASKS)
