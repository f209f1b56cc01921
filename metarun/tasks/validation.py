"""Whether tasks are what a number must be made from: no query in its support, no label that stands for a class."""

import math

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.system.inputs import first_field
from metarun.tasks.batch import chunks
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.stream import TaskStream

CHECKED = 200  # tasks of a stream that are checked at the start
IMPROBABLE = 6.0  # standard deviations: by chance once in 500 million seeds


def check_tasks(stream: TaskStream, tasks: int = CHECKED) -> None:
    """Check the first tasks of a stream; a few milliseconds, since no example is read.

    Raises:
        UserError: an example stands twice in a task, a label means more than one class or two labels one, or labels
            follow the order in which classes are stored. None of it can come of settings: the code is wrong.
    """
    if isinstance(stream, ClassTaskStream):
        _check_rows(stream, min(tasks, stream.available or tasks))
    elif isinstance(stream, FunctionTaskStream):
        task = stream.draw(0, min(tasks, CHECKED))
        support, query = first_field(task.support_x), first_field(task.query_x)
        both = (support[:, :, None] == query[:, None]).all(-1).flatten(1)  # (tasks, support * query)
        _refuse(both.any(1), 0, "has a query at a point of its support set")


def _check_rows(stream: ClassTaskStream, tasks: int) -> None:
    slopes = []
    for first, count in chunks(tasks, 1024):
        rows = torch.cat(stream.rows(first, count), -1).cpu()  # (count, way, shot + query)
        of_class = stream.class_of(rows)
        _refuse(_twice(rows.flatten(1)), first, "has an example twice, such as in its support and in its query set")
        _refuse((of_class != of_class[..., :1]).flatten(1).any(1), first, "has a label that means several classes")
        _refuse(_twice(of_class[..., 0]), first, "has two labels that mean one class")
        slopes.append(_correlation(of_class[..., 0]))
    _check_labels_are_permuted(torch.cat(slopes), stream.shape.way)


def _refuse(wrong: Tensor, first: int, what: str) -> None:
    if wrong.any():
        number = first + int(wrong.int().argmax())
        raise UserError(f"task {number} {what}: the code that draws tasks is wrong, and no figure is made.")


def _twice(rows: Tensor) -> Tensor:
    """Return (tasks,) whether something stands twice in a task's row."""
    return (rows.sort(1).values.diff(dim=1) == 0).any(1)


def _correlation(classes: Tensor) -> Tensor:
    """Return (tasks,) Spearman's correlation of the labels 0 to way - 1 with the stored order of their classes."""
    ranks = classes.argsort(1).argsort(1).double()
    labels = torch.arange(classes.shape[1], dtype=torch.float64)
    middle = (classes.shape[1] - 1) / 2
    return ((ranks - middle) * (labels - middle)).mean(1) / (labels - middle).square().mean()


def _check_labels_are_permuted(correlations: Tensor, way: int) -> None:
    """Of labels in random order each correlation has mean 0 and variance 1 / (way - 1)."""
    deviations = float(correlations.sum()) * math.sqrt((way - 1) / len(correlations))
    if abs(deviations) > IMPROBABLE:
        raise UserError(
            f"labels follow the order in which classes are stored (correlation {float(correlations.mean()):.2f} over "
            f"{len(correlations)} tasks), which gives them away: the code that draws tasks is wrong, and no figure is "
            "made."
        )
