"""Run an exported model on real tasks and compare it with the method in torch."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from metarun.errors import UserError
from metarun.export.graph import AdaptAndPredict
from metarun.export.model import Array, Solve
from metarun.export.request import Request
from metarun.system.progress import OnProgress

TOLERANCE = 1e-4  # of max(1, |logit|)
OTHER_SHAPE = 5  # every how many tasks one with more shots and fewer queries is added


@dataclass(frozen=True)
class Checked:
    """The comparison of an exported model with torch.

    Args:
        tasks: how many were solved by both.
        largest_difference: of a logit, relative to max(1, |logit|).
        model_ms: median milliseconds of the model from a task's examples to its logits.
        torch_ms: of the method in torch.
    """

    tasks: int
    largest_difference: float
    model_ms: float
    torch_ms: float


def check(name: str, solve: Solve, request: Request, tasks: int, on_task: OnProgress) -> Checked:
    """Compare a model with torch on meta-test tasks of the run, and on some with other numbers of shots and queries.

    Args:
        name: of the format.
        solve: the model.
        request: what was exported.
        tasks: how many meta-test tasks of the run's own shape.
        on_task: called with the number of tasks done and the total.

    Raises:
        UserError: a logit differs by more than `TOLERANCE`.
    """
    method = AdaptAndPredict(request.algorithm, request.way, request.steps)
    times: list[tuple[float, float]] = []
    largest = 0.0
    total = tasks + len(range(0, tasks, OTHER_SHAPE))
    for number, (inputs, is_other) in enumerate(_inputs(request, tasks), 1):
        with torch.no_grad():
            expected, torch_ms = _timed(lambda *given: method(*map(torch.from_numpy, given)).numpy(), inputs)
        found, model_ms = _timed(solve, inputs)
        difference = _difference(found, expected)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the {name} model differs from torch by {difference:.1e} of max(1, |logit|) on task {number} of run "
                f"{request.run.id}, which is more than {TOLERANCE:.0e}, so nothing was written",
                "export fewer `--steps`, or a method that takes no gradient steps; docs/deploying.md explains why.",
            )
        largest = max(largest, difference)
        if not is_other:
            times.append((model_ms, torch_ms))
        on_task(number, total)
    model_ms, torch_ms = np.median(np.array(times), axis=0).tolist()
    return Checked(total, largest, model_ms, torch_ms)


def _inputs(request: Request, tasks: int) -> Iterator[tuple[tuple[Array, Array, Array], bool]]:
    """Yield the inputs of each task, and whether it has another shape than the run's tasks."""
    stream = request.stream()
    count = tasks if stream.available is None else min(tasks, stream.available)
    for i in range(count):
        yield _task(stream.draw(i, 1)), False
    try:
        others = request.stream(more_shots=True)
    except UserError:  # the classes have no more examples
        return
    for i in range(0, count, OTHER_SHAPE):
        yield _task(others.draw(i, 1)), True


def _task(batch: object) -> tuple[Array, Array, Array]:
    support_x, support_y, query_x = (getattr(batch, name)[0].numpy() for name in ("support_x", "support_y", "query_x"))
    return support_x, support_y, query_x


def _timed(solve: Solve, inputs: tuple[Array, Array, Array]) -> tuple[Array, float]:
    started = time.perf_counter()
    found = solve(*inputs)
    return found, 1000 * (time.perf_counter() - started)


def _difference(found: Array, expected: Array) -> float:
    """Return the largest difference of two arrays relative to max(1, |expected|); infinite if shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):  # infinite minus infinite
        differences = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    return float(np.where(equal, 0, np.nan_to_num(differences, nan=np.inf)).max(initial=0))
