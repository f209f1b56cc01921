"""Predict a few meta-test tasks for the report, with their examples as people see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from metarun.algorithms import Algorithm
from metarun.data.display import Display
from metarun.data.tables.table_columns import Column, NumericColumn
from metarun.results.example_tasks import CELLS, LENGTH, TARGETS, TASKS, ExampleTask, is_picture, shrink
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.losses import confidence
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import VaryingTaskStream

Array = NDArray[np.generic]


@torch.no_grad()
def predict_examples(
    algorithm: Algorithm,
    stream: TaskStream,
    steps: int,
    tasks: Sequence[int],
    check_interrupt: Callable[[], None] = lambda: None,
    display: Callable[[], Display] = Display,
) -> list[ExampleTask]:
    """Return the first few of some tasks with an algorithm's predictions; empty if they cannot be displayed.

    Args:
        algorithm: with the evaluated weights.
        stream: of meta-test tasks.
        steps: of adaptation.
        tasks: their numbers in the stream, without those that diverged.
        check_interrupt: called before each task; raises when the user wants to stop.
        display: returns how examples are shown.
    """
    algorithm.eval()
    how, shown = display(), []
    for i in tasks[:TASKS]:
        check_interrupt()
        own, number = (stream.by_shape(i, 1)[0][0], 0) if isinstance(stream, VaryingTaskStream) else (stream, i)
        task = own.draw(number, 1)
        if (seen := _seen(own, number, task, how)) is None:
            return []
        predictions = algorithm.predict(task, steps)[-1].float()  # (1, queries, way)
        if not predictions.isfinite().all():  # a single task rounds differently than one in a chunk
            continue
        certain = predictions.new_empty(1, 0) if task.regression else confidence(predictions)
        found = ExampleTask(
            support_x=seen.support,
            support_y=task.support_y[0].cpu().numpy(),
            query_x=seen.query,
            query_y=task.query_y[0].cpu().numpy(),
            predicted=(predictions if task.regression else predictions.argmax(-1))[0].cpu().numpy(),
            confidence=certain[0].cpu().numpy(),
            names=np.array(seen.names, dtype="U") if seen.names else np.empty(0, "U1"),
        )
        shown.append(shrink(_in_units(found, how) if task.regression else found))
    return shown


@dataclass(frozen=True)
class _Seen:
    """The examples of a task as people see them, and `ExampleTask.names`."""

    support: Array
    query: Array
    names: Sequence[str] = ()


def _seen(stream: TaskStream, number: int, task: TaskBatch, how: Display) -> _Seen | None:
    """Return what is shown of a task's examples; None: they cannot be displayed."""
    if how.texts:
        return _texts(stream, number, how.texts)
    support, query = _numbers(task.support_x), _numbers(task.query_x)
    if support is None or query is None:
        return None
    if task.regression:
        return _points(support, query, how)
    if how.sound and support.ndim == 4 and is_picture(support.shape[1:]):
        return _Seen(support[:, :, ::-1], query[:, :, ::-1], ("time", "frequency"))  # low frequencies below
    if how.inputs and support.ndim == 2:
        names = [_clipped(name) for name in _names(how.inputs)]
        return _Seen(_cells(support, how.inputs), _cells(query, how.inputs), names)
    return _Seen(support, query) if is_picture(support.shape[1:]) else None


def _numbers(x: Inputs) -> NDArray[np.floating] | None:
    return None if isinstance(x, dict) else x[0].cpu().float().numpy()


def _texts(stream: TaskStream, number: int, texts: Sequence[str]) -> _Seen | None:
    if not isinstance(stream, ClassTaskStream):
        return None
    support, query = (rows.flatten().tolist() for rows in stream.rows(number, 1))
    if max(*support, *query) >= len(texts):
        return None  # of another split

    def of(rows: list[int]) -> Array:
        return np.array([[_clipped(texts[row])] for row in rows], dtype="U")

    return _Seen(of(support), of(query))


def _clipped(text: str) -> str:
    """Return a text on one line, of at most `LENGTH` characters, in which each can be encoded."""
    line = " ".join(text.split()).replace("\0", "").encode(errors="replace").decode() or "–"
    return line if len(line) <= LENGTH else f"{line[: LENGTH - 1]}…"


def _names(columns: Sequence[Column]) -> list[str]:
    if len(columns) <= CELLS:
        return [column.name for column in columns]
    return [*(column.name for column in columns[: CELLS - 1]), f"{len(columns) - CELLS + 1:,} more"]


def _cells(vectors: NDArray[np.floating], columns: Sequence[Column]) -> Array:
    """Return (rows, cells) texts of the first columns, standardised no more."""
    cells, first = [], 0
    for column in columns[: CELLS if len(columns) <= CELLS else CELLS - 1]:
        cells.append([_clipped(text) for text in column.texts(vectors[:, first : first + column.width])])
        first += column.width
    if len(columns) > CELLS:
        cells.append(["…"] * len(vectors))
    return np.array(cells, dtype="U").T


def _points(support: NDArray[np.floating], query: NDArray[np.floating], how: Display) -> _Seen | None:
    """Return the places (rows, 1) of the points of a regression task along one of its inputs."""
    if support.ndim != 2:
        return None
    if not how.inputs:
        names = () if support.shape[1] == 1 else ("the first input",)
        return _Seen(support[:, :1], query[:, :1], names)
    starts = np.cumsum([0, *(column.width for column in how.inputs)])
    both = np.concatenate([support, query])
    numeric = [(column, i) for column, i in zip(how.inputs, starts, strict=False) if isinstance(column, NumericColumn)]
    # By preference the time, else a column in which the rows of an entity differ: the age of a patient may not.
    numeric.sort(key=lambda each: (each[0].name != how.axis, len(np.unique(both[:, each[1]])) == 1))
    if not numeric:
        return None
    column, first = numeric[0]
    at = slice(first, first + 1)
    return _Seen(column.values(support[:, at])[:, None], column.values(query[:, at])[:, None], (_clipped(column.name),))


def _in_units(task: ExampleTask, how: Display) -> ExampleTask:
    """Return a regression task with its first few targets in their own units, and their names."""
    columns = [column for column in how.targets if isinstance(column, NumericColumn)][:TARGETS]

    def in_units(y: Array) -> Array:
        if not columns:
            return y[:, :TARGETS]
        numbers = y.astype(np.float64)
        return np.stack([column.values(numbers[:, i : i + 1]) for i, column in enumerate(columns)], 1)

    targets = min(TARGETS, task.query_y.shape[1])
    names = [_clipped(column.name) for column in columns] or [f"target {i + 1}" for i in range(targets)]
    return replace(
        task,
        support_y=in_units(task.support_y),
        query_y=in_units(task.query_y),
        predicted=in_units(task.predicted),
        names=np.array([*task.names, *names], dtype="U") if len(task.names) else task.names,
    )
