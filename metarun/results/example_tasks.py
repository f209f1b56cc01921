"""A few meta-test tasks with their predictions, saved for the report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.results import checksums
from metarun.results.record_schema import LARGEST
from metarun.system.atomic_write import write_bytes

TASKS = 3
WAYS = 5
PER_CLASS = 3
POINTS = 100  # support or query points of a function
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDE = 42  # pixels; larger pictures are shrunk, so that the file takes a few hundred KB
MAX_EXAMPLES = 1_000  # examples or points of a task
MAX_UNPACKED_BYTES = 1 << 24


@dataclass(frozen=True)
class ExampleTask:
    """One task as it is displayed, after the last adaptation step.

    Args:
        support_x: (support, channels, height, width) uint8 pictures, or (support, 1) float32 points in regression.
        support_y: (support,) labels, or (support, 1) float32 targets.
        query_x: (queries, ...) like support_x.
        query_y: (queries, ...) like support_y.
        predicted: the predictions, like query_y; may contain labels of classes that are not displayed.
        confidence: (queries,) the probability of the predicted label; of length 0 in regression.
    """

    support_x: NDArray[Any]
    support_y: NDArray[Any]
    query_x: NDArray[Any]
    query_y: NDArray[Any]
    predicted: NDArray[Any]
    confidence: NDArray[np.float32]

    @property
    def regression(self) -> bool:
        """Whether the task is regression."""
        return self.query_y.dtype.kind == "f"


def letter(label: Any) -> str:
    """Name a label: A to Z, then numbers."""
    return LETTERS[label] if 0 <= label < len(LETTERS) else str(int(label))


def is_displayable(shape: Sequence[int], regression: bool, outputs: int = 1) -> bool:
    """Whether examples of this shape are pictures (grey or colour, channels first) or points of a function."""
    if regression:
        return tuple(shape) == (1,) and outputs == 1
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) * SIDE >= max(shape[1:])  # not a thin strip


def shrink(task: ExampleTask) -> ExampleTask:
    """Keep the first `WAYS` classes and `PER_CLASS` examples of each, with pictures of at most `SIDE` pixels.

    Args:
        task: a complete task; its pictures are floats, in [0, 1] unless the data set exceeds that.
    """
    if task.regression:
        return ExampleTask(*(array[:POINTS].astype(np.float32) for array in asdict(task).values()))
    support, query = _first_of_each_class(task.support_y), _first_of_each_class(task.query_y)
    low = min(0.0, float(task.support_x.min()), float(task.query_x.min()))
    high = max(1.0, float(task.support_x.max()), float(task.query_x.max()))
    return ExampleTask(
        support_x=_as_pictures(task.support_x[support], low, high),
        support_y=task.support_y[support].astype(np.int16),
        query_x=_as_pictures(task.query_x[query], low, high),
        query_y=task.query_y[query].astype(np.int16),
        predicted=task.predicted[query].astype(np.int16),
        confidence=task.confidence[query].astype(np.float32),
    )


def _first_of_each_class(labels: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.flatnonzero(labels == label)[:PER_CLASS] for label in range(WAYS)])


def _as_pictures(x: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Convert (n, channels, height, width) floats to uint8, averaging squares of pixels."""
    by = -(-max(x.shape[2:]) // SIDE)
    height, width = (max(1, side // by) for side in x.shape[2:])
    squares = x[:, :, : height * by, : width * by].reshape(*x.shape[:2], height, -1, width, by)
    pictures: NDArray[np.uint8] = np.rint((squares.mean((3, 5)) - low) / (high - low) * 255).astype(np.uint8)
    return pictures


def save(path: Path, tasks: Sequence[ExampleTask]) -> None:
    """Write the tasks atomically, as arrays of numbers, so that reading them cannot run code."""
    arrays = {f"{name}_{i}": array for i, task in enumerate(tasks) for name, array in asdict(task).items()}
    content = BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())


def load(path: Path) -> list[ExampleTask]:
    """Read what `save` wrote.

    Raises:
        UserError: the file is damaged or has another format.
    """
    with checksums.reading(path, "delete it, or run it again with force=true."):
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if sum(entry.file_size for entry in arrays.zip.infolist()) > MAX_UNPACKED_BYTES:
                raise ValueError("it unpacks to too many bytes")
            names = ExampleTask.__dataclass_fields__
            tasks = [
                ExampleTask(**{name: arrays[f"{name}_{i}"] for name in names}) for i in range(len(arrays) // len(names))
            ]
        if not all(map(_is_valid, tasks)):
            raise ValueError("its arrays do not match")
    return tasks


def _is_valid(task: ExampleTask) -> bool:
    arrays = asdict(task).values()
    if any(array.dtype.kind not in "iuf" or not (np.abs(array.astype(np.float64)) < LARGEST).all() for array in arrays):
        return False
    if any(not 0 < len(array) <= MAX_EXAMPLES for array in (task.support_x, task.query_x)):
        return False
    if len(task.support_x) != len(task.support_y) or task.predicted.shape != task.query_y.shape:
        return False
    return _are_functions(task) if task.regression else _are_pictures(task)


def _are_functions(task: ExampleTask) -> bool:
    return task.query_x.shape == task.query_y.shape and task.support_x.shape == task.support_y.shape


def _are_pictures(task: ExampleTask) -> bool:
    shape = task.support_x.shape[1:]
    labels = (task.support_y, task.query_y, task.predicted)
    return (
        all(x.dtype == np.uint8 and x.shape[1:] == shape for x in (task.support_x, task.query_x))
        and is_displayable(shape, regression=False)
        and max(shape) <= SIDE
        and all(array.dtype.kind in "iu" and array.ndim == 1 for array in labels)
        and task.confidence.shape == task.query_y.shape == (len(task.query_x),)
    )
