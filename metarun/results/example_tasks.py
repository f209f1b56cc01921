"""A few meta-test tasks with their predictions, saved for the report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.results.array_file import reading_arrays
from metarun.results.record_schema import LARGEST
from metarun.system.atomic_write import write_npz

TASKS = 3
WAYS = 5
PER_CLASS = 3
POINTS = 100  # support or query points of a function
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDE = 42  # pixels; larger pictures are shrunk, so that the file takes a few hundred KB
SOUND_SIDE = 84  # of a spectrogram, which is seldom square and of fine lines
CELLS = 8  # texts of an example: one, or some columns of a row
TARGETS = 3  # of regression
LENGTH = 160  # characters of a text
MAX_EXAMPLES = 1_000  # examples or points of a task
MAX_UNPACKED_BYTES = 1 << 24
_OPTIONAL = "names"  # the field that is not written if it is empty, as in files of earlier versions


@dataclass(frozen=True)
class ExampleTask:
    """One task as it is displayed, after the last adaptation step.

    Args:
        support_x: (support, channels, height, width) uint8 pictures; (support, cells) texts, one each or the columns of
            a row; or (support, 1) float32 points in regression.
        support_y: (support,) labels, or (support, targets) float32 targets.
        query_x: (queries, ...) like support_x.
        query_y: (queries, ...) like support_y.
        predicted: the predictions, like query_y; may contain labels of classes that are not displayed.
        confidence: (queries,) the probability of the predicted label; of length 0 in regression.
        names: of a row's columns; of a spectrogram's axes, to the right and upwards; or of the points' axis and of
            the targets. Empty for pictures, texts and functions.
    """

    support_x: NDArray[Any]
    support_y: NDArray[Any]
    query_x: NDArray[Any]
    query_y: NDArray[Any]
    predicted: NDArray[Any]
    confidence: NDArray[np.float32]
    names: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, "U1"))

    @property
    def regression(self) -> bool:
        """Whether the task is regression."""
        return self.query_y.dtype.kind == "f"

    @property
    def of_texts(self) -> bool:
        """Whether examples are texts."""
        return self.query_x.dtype.kind == "U"


def letter(label: Any) -> str:
    """Name a label: A to Z, then numbers."""
    return LETTERS[label] if 0 <= label < len(LETTERS) else str(int(label))


def is_picture(shape: Sequence[int]) -> bool:
    """Whether examples of this shape are pictures: grey or colour, channels first, and no thin strips."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) * SIDE >= max(shape[1:])


def shrink(task: ExampleTask) -> ExampleTask:
    """Keep the first `WAYS` classes and `PER_CLASS` examples of each, with pictures of at most `SIDE` pixels.

    Args:
        task: a complete task; its pictures are floats, in [0, 1] unless the data set exceeds that.
    """
    if task.regression:
        support_x, support_y, query_x, query_y, predicted, confidence = (
            array[:POINTS].astype(np.float32) for name, array in asdict(task).items() if name != _OPTIONAL
        )
        return ExampleTask(support_x, support_y, query_x, query_y, predicted, confidence, task.names)
    support, query = _first_of_each_class(task.support_y), _first_of_each_class(task.query_y)
    support_x, query_x = task.support_x[support], task.query_x[query]
    if not task.of_texts:
        low = min(0.0, float(task.support_x.min()), float(task.query_x.min()))
        high = max(1.0, float(task.support_x.max()), float(task.query_x.max()))
        side = SOUND_SIDE if len(task.names) else SIDE
        support_x, query_x = (_as_pictures(x, low, high, side) for x in (support_x, query_x))
    return ExampleTask(
        support_x=support_x,
        support_y=task.support_y[support].astype(np.int16),
        query_x=query_x,
        query_y=task.query_y[query].astype(np.int16),
        predicted=task.predicted[query].astype(np.int16),
        confidence=task.confidence[query].astype(np.float32),
        names=task.names,
    )


def _first_of_each_class(labels: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.flatnonzero(labels == label)[:PER_CLASS] for label in range(WAYS)])


def _as_pictures(x: NDArray[Any], low: float, high: float, most: int) -> NDArray[np.uint8]:
    """Convert (n, channels, height, width) floats to uint8, averaging squares of pixels; no side exceeds `most`."""
    by = -(-max(x.shape[2:]) // most)
    height, width = (max(1, side // by) for side in x.shape[2:])
    squares = x[:, :, : height * by, : width * by].reshape(*x.shape[:2], height, -1, width, by)
    pictures: NDArray[np.uint8] = np.rint((squares.mean((3, 5)) - low) / (high - low) * 255).astype(np.uint8)
    return pictures


def save(path: Path, tasks: Sequence[ExampleTask]) -> None:
    """Write the tasks."""
    write_npz(
        path,
        {
            f"{name}_{i}": array
            for i, task in enumerate(tasks)
            for name, array in asdict(task).items()
            if name != _OPTIONAL or len(array)
        },
    )


def load(path: Path) -> list[ExampleTask]:
    """Read what `save` wrote."""
    with reading_arrays(path, MAX_UNPACKED_BYTES) as arrays:
        needed = [name for name in ExampleTask.__dataclass_fields__ if name != _OPTIONAL]
        count = sum(name.startswith(needed[0]) for name in arrays)
        tasks = [
            ExampleTask(
                **{name: arrays[f"{name}_{i}"] for name in needed},
                **({_OPTIONAL: arrays[own]} if (own := f"{_OPTIONAL}_{i}") in arrays else {}),
            )
            for i in range(count)
        ]
        if not all(map(_is_valid, tasks)):
            raise ValueError("its arrays do not match")
    return tasks


def _is_valid(task: ExampleTask) -> bool:
    arrays = [array for name, array in asdict(task).items() if name != _OPTIONAL]
    texts = [array for array in (*arrays, task.names) if array.dtype.kind == "U"]
    numbers = [array for array in arrays if array.dtype.kind != "U"]
    if any(array.dtype.kind not in "iuf" for array in numbers):
        return False
    if not all((np.abs(array.astype(np.float64)) < LARGEST).all() for array in numbers):
        return False
    if any(not 0 < len(array) <= MAX_EXAMPLES for array in (task.support_x, task.query_x)):
        return False
    if len(task.support_x) != len(task.support_y) or task.predicted.shape != task.query_y.shape:
        return False
    if task.names.ndim != 1 or task.names.dtype.kind != "U" or not all(map(_are_texts, texts)):
        return False
    if task.regression:
        return _are_functions(task)
    return _are_labelled(task) and (_are_rows(task) if task.of_texts else _are_pictures(task))


def _are_texts(array: NDArray[np.str_]) -> bool:
    "".join(array.ravel().tolist()).encode()  # an error if they are no valid characters
    return array.dtype.itemsize <= LENGTH * np.dtype("U1").itemsize


def _are_functions(task: ExampleTask) -> bool:
    targets = task.query_y.shape[1:]
    return (
        all(array.dtype.kind == "f" for array in (task.support_x, task.query_x, task.support_y, task.predicted))
        and all(x.shape == (len(x), 1) for x in (task.support_x, task.query_x))
        and task.support_y.shape[1:] == targets
        and len(task.query_y) == len(task.query_x)
        and len(targets) == 1
        and 1 <= targets[0] <= TARGETS
        and len(task.names) in (0, 1 + targets[0])
    )


def _are_labelled(task: ExampleTask) -> bool:
    labels = (task.support_y, task.query_y, task.predicted)
    return (
        all(array.dtype.kind in "iu" and array.ndim == 1 for array in labels)
        and task.confidence.shape == task.query_y.shape == (len(task.query_x),)
        and task.confidence.dtype.kind == "f"
    )


def _are_rows(task: ExampleTask) -> bool:
    cells = task.support_x.shape[1:]
    return (
        task.support_x.dtype.kind == "U"
        and task.query_x.shape[1:] == cells
        and len(cells) == 1
        and 1 <= cells[0] <= CELLS
        and len(task.names) in (0, cells[0])
    )


def _are_pictures(task: ExampleTask) -> bool:
    shape = task.support_x.shape[1:]
    return (
        all(x.dtype == np.uint8 and x.shape[1:] == shape for x in (task.support_x, task.query_x))
        and is_picture(shape)
        and max(shape) <= (SOUND_SIDE if len(task.names) else SIDE)
        and len(task.names) in (0, 2)
    )
