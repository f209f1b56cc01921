"""Judging an algorithm on tasks it was not trained on. Knows no algorithm, no data set, no screen."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.errors import RunFailed
from metarun.evaluation.feature_cache import on_features
from metarun.results.example_tasks import TASKS, ExampleTask, can_be_shown, cut_down
from metarun.results.metrics import ACCURACY, MSE, Metric
from metarun.results.record_schema import LARGEST
from metarun.system.memory import ran_out
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.losses import confidence, correct, per_query_loss
from metarun.tasks.stream import TaskStream

log = logging.getLogger(__name__)

# How much goes through the network at once: more is slower on a CPU and takes more memory, which grows with the area.
CHUNK_EXAMPLES = 1024
CHUNK_PIXELS = CHUNK_EXAMPLES * 28 * 28
CHUNK_FEATURES = 8192  # examples at once whose features are there already


@dataclass(frozen=True)
class Evaluation:
    """What was measured on each of T tasks before adaptation and after each step.

    Args:
        values: (steps + 1, T) each, by column of `tasks.parquet`, means over the queries: `loss`, cross-entropy in nats
            or squared error; of classes also `accuracy` and `confidence`, the probability given to the predicted
            class, in [0, 1].
        metric: which of them the algorithm is judged by.
    """

    values: Mapping[str, Tensor]
    metric: Metric

    @property
    def loss(self) -> Tensor:
        """(steps + 1, T) the loss."""
        return self.values["loss"]

    @property
    def diverged(self) -> Tensor:
        """(T,) bool: the loss is no finite number, or none below `LARGEST`, before adaptation or after some step."""
        return ~(self.loss < LARGEST).all(0)

    @property
    def headline(self) -> Tensor:
        """What a method is judged by after the last step.

        Returns:
            (T,) the accuracy of each task, where a query without a finite prediction is wrong; or the squared error of
            each task that did not diverge.
        """
        values = self.values[self.metric.column][-1]
        return values if self.metric.counts_diverged else values[~self.diverged]

    @property
    def loss_by_step(self) -> list[float]:
        """The mean loss of the tasks that did not diverge, before adaptation and after each step; empty without one."""
        sane = ~self.diverged
        return self.loss[:, sane].double().mean(1).tolist() if sane.any() else []

    @property
    def median(self) -> float | None:
        """The median squared error over all tasks, those that diverged above all; None where these count in the mean.

        None as well where so many diverged that it is no number.
        """
        if self.metric.counts_diverged:
            return None
        median = float(self.loss[-1].double().masked_fill(self.diverged, math.inf).quantile(0.5))
        return median if math.isfinite(median) else None

    @property
    def score(self) -> float:
        """The mean headline, signed so that more is better; -inf where it cannot stand for all tasks.

        So it is if no task has a loss, and if one has none where those that diverged do not count.
        """
        diverged = self.diverged
        if bool(diverged.all()) or (not self.metric.counts_diverged and bool(diverged.any())):
            return -math.inf
        return self.metric.score(float(self.headline.double().mean()))


def _nobody_asks(done: int, tasks: int) -> None:
    """Nobody wants to know how far it is."""


def evaluate(
    algorithm: Algorithm,
    stream: TaskStream,
    tasks: int,
    steps: int,
    judged: Callable[[int, int], None] = _nobody_asks,
    features: dict[str, Tensor] | None = None,
) -> Evaluation:
    """Judge an algorithm, as it is, on the first `tasks` of a stream; `features` is what `on_features` may keep."""
    algorithm.eval()
    kept = {} if features is None else features
    of_features = on_features(algorithm, stream, tasks, lambda: judged(0, tasks), kept)
    if of_features is None:
        return judge(lambda batch: algorithm.predict(batch, steps), stream, tasks, judged)
    on, embedded = of_features
    return judge(lambda batch: on.predict(batch, steps), embedded, tasks, judged, CHUNK_FEATURES)


def judge(
    predict: Callable[[TaskBatch], Tensor],
    stream: TaskStream,
    tasks: int,
    judged: Callable[[int, int], None] = _nobody_asks,
    at_once: int | None = None,
) -> Evaluation:
    """Judge predictions on the first `tasks` of a stream, in chunks of which none changes another's result.

    Args:
        predict: returns (steps + 1, T, queries, way) as `Algorithm.predict` does.
        stream: where the tasks come from.
        tasks: how many.
        judged: told after each chunk how many of how many are done.
        at_once: examples in a chunk; default: `CHUNK_EXAMPLES`.
    """
    size, done = tasks_at_once(stream, at_once or CHUNK_EXAMPLES), 0
    found: list[Evaluation] = []
    while done < tasks:
        length = min(size, tasks - done)
        try:
            found.append(_measure(predict, stream.draw(done, length)))
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            size = _fewer(length, stream.shape)
        else:
            done += length
            judged(done, tasks)
    columns = {name: torch.cat([part.values[name] for part in found], dim=1) for name in found[0].values}
    return Evaluation(columns, found[0].metric)


def tasks_at_once(stream: TaskStream, examples: int) -> int:
    """Return how many tasks make a chunk of at most so many examples; at least one, however large it is."""
    shape = stream.shape
    area = stream.draw(0, 1).example_shape[1:].numel()  # pixels of an example; 1 where examples are no images
    return max(1, min(examples, CHUNK_PIXELS // area) // (shape.way * (shape.shot + shape.query)))


def _fewer(tasks: int, shape: TaskShape) -> int:
    """Return how many tasks to judge at once when so many took more memory than there is."""
    if tasks == 1:
        sizes = shape.knob("way", "query", between=", ")
        raise RunFailed(
            f"one task does not fit the memory; lower {sizes} or `backbone.filters`, or choose a device with more."
        )
    log.warning("out of memory: from here on %d tasks are judged at once, not %d", tasks // 2, tasks)
    return tasks // 2


@torch.no_grad()
def _measure(predict: Callable[[TaskBatch], Tensor], batch: TaskBatch) -> Evaluation:
    predictions = predict(batch)  # (steps + 1, T, queries, way)
    targets = batch.query_y.expand(len(predictions), *batch.query_y.shape)
    per_query = {"loss": per_query_loss(predictions, targets)}
    if not (regression := targets.is_floating_point()):
        per_query |= {"accuracy": correct(predictions, targets).double(), "confidence": confidence(predictions)}
    return Evaluation({name: each.mean(-1).cpu() for name, each in per_query.items()}, MSE if regression else ACCURACY)


def adaptation_ms(
    algorithm: Algorithm, stream: TaskStream, steps: int, pause: Callable[[], None] = lambda: None, repeats: int = 15
) -> float:
    """Return the median milliseconds from one task's examples to its predictions, all steps included."""
    algorithm.eval()
    times = []
    for i in range(repeats + 2):  # the first two warm up
        pause()
        task = stream.draw(i, 1)
        _wait_for(task.device)
        begin = time.perf_counter()
        algorithm.predict(task, steps)
        _wait_for(task.device)
        times.append((time.perf_counter() - begin) * 1000)
    return float(torch.tensor(times[2:]).median())


@torch.no_grad()
def predict_examples(
    algorithm: Algorithm, stream: TaskStream, steps: int, tasks: Sequence[int], pause: Callable[[], None] = lambda: None
) -> list[ExampleTask]:
    """Return the first few of some tasks with an algorithm's predictions; none where there is nothing to draw.

    Args:
        algorithm: with the weights that were judged.
        stream: where the tasks come from.
        steps: of adaptation.
        tasks: their numbers in the stream; those that diverged cannot be drawn.
        pause: called before each; raises when the user wants to stop.
    """
    algorithm.eval()
    shown = []
    for i in tasks[:TASKS]:
        pause()
        task = stream.draw(i, 1)
        regression = task.regression
        support_x, query_x = task.support_x, task.query_x
        if isinstance(support_x, dict) or isinstance(query_x, dict) or not can_be_shown(task.example_shape, regression):
            return []
        predictions = algorithm.predict(task, steps)[-1].float()  # (1, queries, way)
        if not predictions.isfinite().all():  # one task by itself rounds otherwise than among others
            continue
        whole = (
            *(support_x, task.support_y, query_x, task.query_y),
            predictions if regression else predictions.argmax(-1),
            predictions.new_empty(1, 0) if regression else confidence(predictions),
        )
        shown.append(cut_down(ExampleTask(*(tensor[0].cpu().numpy() for tensor in whole))))
    return shown


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
