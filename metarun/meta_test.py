"""Judging an algorithm on tasks it was not trained on. Knows no algorithm, no data set, no screen."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.losses import confidence, correct, per_query_loss
from metarun.tasks import TaskBatch, TaskStream, chunks

CHUNK_EXAMPLES = 1024  # examples that go through the network at once; more is slower on a CPU and takes more memory


@dataclass(frozen=True)
class Evaluation:
    """What was measured on each of T tasks before adaptation and after each step.

    Args:
        loss: (steps + 1, T) mean over the queries: cross-entropy in nats, or squared error.
        accuracy: (steps + 1, T) in [0, 1]; None in regression.
        confidence: (steps + 1, T) mean probability given to the predicted class; None in regression.
    """

    loss: Tensor
    accuracy: Tensor | None
    confidence: Tensor | None

    @property
    def headline(self) -> Tensor:
        """(T,) what a method is judged by: accuracy, or squared error, after the last step."""
        return self.loss[-1] if self.accuracy is None else self.accuracy[-1]

    @property
    def score(self) -> float:
        """The mean headline, signed so that more is better."""
        mean = float(self.headline.double().mean())
        return -mean if self.accuracy is None else mean


def _nobody_asks(done: int, tasks: int) -> None:
    """Nobody wants to know how far it is."""


def evaluate(
    algorithm: Algorithm,
    stream: TaskStream,
    tasks: int,
    steps: int,
    judged: Callable[[int, int], None] = _nobody_asks,
) -> Evaluation:
    """Judge an algorithm, as it is, on the first `tasks` of a stream."""
    algorithm.eval()
    return judge(lambda batch: algorithm.predict(batch, steps), stream, tasks, judged)


def judge(
    predict: Callable[[TaskBatch], Tensor],
    stream: TaskStream,
    tasks: int,
    judged: Callable[[int, int], None] = _nobody_asks,
) -> Evaluation:
    """Judge predictions on the first `tasks` of a stream, in chunks of which none changes another's result.

    Args:
        predict: returns (steps + 1, T, queries, way) as `Algorithm.predict` does.
        stream: where the tasks come from.
        tasks: how many.
        judged: told after each chunk how many of how many are done.
    """
    shape = stream.shape
    size = max(1, CHUNK_EXAMPLES // (shape.way * (shape.shot + shape.query)))
    found: list[tuple[Tensor, ...]] = []
    for first, length in chunks(tasks, size):
        found.append(_measure(predict, stream.draw(first, length)))
        judged(first + length, tasks)
    loss, *rest = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    accuracy, sureness = rest or (None, None)
    return Evaluation(loss, accuracy, sureness)


@torch.no_grad()
def _measure(predict: Callable[[TaskBatch], Tensor], batch: TaskBatch) -> tuple[Tensor, ...]:
    predictions = predict(batch)  # (steps + 1, T, queries, way)
    targets = batch.query_y.expand(len(predictions), *batch.query_y.shape)
    loss = per_query_loss(predictions, targets).mean(-1).cpu()
    if targets.is_floating_point():
        return (loss,)
    accuracy = correct(predictions, targets).double().mean(-1).cpu()
    return loss, accuracy, confidence(predictions).mean(-1).cpu()


def is_transductive(
    algorithm: Algorithm, stream: TaskStream, steps: int, pause: Callable[[], None] = lambda: None
) -> bool:
    """Whether a query's prediction changes with the other queries, found by asking: in float64, on one task.

    Some queries of a task are predicted each by itself and in company. A difference beyond float64's rounding means
    that the method uses the other queries, as batch statistics over the query set do. The support examples are asked
    about as well, so that there is company however few queries a task has.
    """
    algorithm = copy.deepcopy(algorithm).double().eval()
    task = stream.draw(0, 1)
    support_x, support_y = task.support_x.double(), task.support_y
    support_y = support_y.double() if support_y.is_floating_point() else support_y
    query_x, query_y = torch.cat([task.query_x.double(), support_x], 1), torch.cat([task.query_y, task.support_y], 1)

    def predict(queries: slice) -> Tensor:
        pause()
        seen = replace(
            task, support_x=support_x, support_y=support_y, query_x=query_x[:, queries], query_y=query_y[:, queries]
        )
        return algorithm.predict(seen, steps)

    together = predict(slice(None))
    alone = [predict(slice(j, j + 1)) for j in range(min(3, query_x.shape[1]))]
    return any(not torch.allclose(one[:, :, 0], together[:, :, j], rtol=1e-6, atol=1e-8) for j, one in enumerate(alone))


def adaptation_ms(
    algorithm: Algorithm, stream: TaskStream, steps: int, pause: Callable[[], None] = lambda: None, repeats: int = 15
) -> float:
    """Return the median milliseconds from one task's examples to its predictions, all steps included."""
    algorithm.eval()
    times = []
    for i in range(repeats + 2):  # the first two warm up
        pause()
        task = stream.draw(i, 1)
        _wait_for(task.query_x.device)
        begin = time.perf_counter()
        algorithm.predict(task, steps)
        _wait_for(task.query_x.device)
        times.append((time.perf_counter() - begin) * 1000)
    return float(torch.tensor(times[2:]).median())


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
