"""Check that tasks are valid: no query is in the support set, and labels do not reveal classes."""

import math

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.system.inputs import first_field
from metarun.tasks.batch import chunks
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.entity_stream import EntityTaskStream
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import by_shape

CHECKED_TASKS = 200  # at the start of a stream
MAX_DEVIATION = 6.0  # standard deviations; exceeded by chance once in 500 million seeds


def check_tasks(stream: TaskStream, tasks: int = CHECKED_TASKS) -> None:
    """Check the first tasks of a stream; takes milliseconds, because no example is read.

    Raises:
        UserError: a task contains an example twice, a label stands for several classes, two labels stand for one class,
            or labels follow the stored order of classes. Settings cannot cause any of this; it is a bug.
    """
    for part, numbers in by_shape(stream, tasks):
        _check_equal(part, len(numbers))


def _check_equal(stream: TaskStream, tasks: int) -> None:
    """Check the first tasks of a stream whose tasks are of one shape."""
    available = min(tasks, stream.available or tasks)
    if isinstance(stream, ClassTaskStream):
        _check_rows(stream, available)
    elif isinstance(stream, EntityTaskStream):
        rows = torch.cat(stream.rows(0, available), 1)
        _raise_if(_has_duplicates(rows), 0, "contains a row twice, such as in its support and its query set")
    elif isinstance(stream, FunctionTaskStream):
        task = stream.draw(0, min(tasks, CHECKED_TASKS))
        support, query = first_field(task.support_x), first_field(task.query_x)
        both = (support[:, :, None] == query[:, None]).all(-1).flatten(1)  # (tasks, support * query)
        _raise_if(both.any(1), 0, "has a query at a point of its support set")


def _check_rows(stream: ClassTaskStream, tasks: int) -> None:
    slopes = []
    for first, count in chunks(tasks, 1024):
        rows = torch.cat(stream.rows(first, count), -1).cpu()  # (count, way, shot + query)
        missing = rows < 0  # of unequal shots or queries
        of_class = stream.class_of(rows.where(~missing, rows.amax(-1, keepdim=True)))
        numbered = -1 - torch.arange(rows[0].numel()).reshape(rows[0].shape)  # so that no two of them are equal
        duplicated = _has_duplicates(rows.where(~missing, numbered).flatten(1))
        _raise_if(duplicated, first, "contains an example twice, such as in its support and its query set")
        _raise_if(
            (of_class != of_class[..., :1]).flatten(1).any(1), first, "has a label that stands for several classes"
        )
        _raise_if(_has_duplicates(of_class[..., 0]), first, "has two labels that stand for one class")
        slopes.append(_correlation(of_class[..., 0]))
    _check_labels_are_permuted(torch.cat(slopes), stream.shape.way)


def _raise_if(invalid: Tensor, first: int, what: str) -> None:
    if invalid.any():
        number = first + int(invalid.int().argmax())
        raise UserError(f"task {number} {what}: this is a bug in the code that draws tasks, so there is no result.")


def _has_duplicates(rows: Tensor) -> Tensor:
    """Return (tasks,) whether a task's row contains a value twice."""
    return (rows.sort(1).values.diff(dim=1) == 0).any(1)


def _correlation(classes: Tensor) -> Tensor:
    """Return (tasks,) Spearman's correlation of the labels 0 to way - 1 with the stored order of their classes."""
    ranks = classes.argsort(1).argsort(1).double()
    labels = torch.arange(classes.shape[1], dtype=torch.float64)
    middle = (classes.shape[1] - 1) / 2
    return ((ranks - middle) * (labels - middle)).mean(1) / (labels - middle).square().mean()


def _check_labels_are_permuted(correlations: Tensor, way: int) -> None:
    """Check that the correlations have mean 0; for random labels each has variance 1 / (way - 1)."""
    deviations = float(correlations.sum()) * math.sqrt((way - 1) / len(correlations))
    if abs(deviations) > MAX_DEVIATION:
        raise UserError(
            f"labels follow the stored order of classes (correlation {float(correlations.mean()):.2f} over "
            f"{len(correlations)} tasks): this is a bug in the code that draws tasks, so there is no result."
        )
