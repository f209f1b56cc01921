"""The part of a record that is about each data set of a mixture."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from metarun.evaluation.evaluate import Evaluation
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.mixture_stream import EachSetStream
from metarun.tasks.stream import TaskStream
from metarun.tasks.varying_stream import by_shape


def describe_sets(found: Evaluation, floor_found: Evaluation, stream: TaskStream, tasks: int) -> Record:
    """Return the figures of each data set, and the interval of their mean; nothing if there is one data set.

    The mean of n data sets has the interval sqrt(h1^2 + ... + hn^2) / n, where h are the half-widths of each: the data
    sets are fixed, and only tasks are drawn.

    Args:
        found: the values of each task.
        floor_found: those of the floor.
        stream: of the tasks.
        tasks: how many, of all data sets together.
    """
    if not isinstance(stream, EachSetStream):
        return {}
    metric = found.metric
    sets: dict[str, Record] = {}
    for name, (of_set, numbers) in zip(stream.streams, stream.parts(tasks), strict=True):
        own, own_floor = of_tasks(found, numbers), of_tasks(floor_found, numbers)
        mean, half = mean_and_ci95(own.headline.numpy())
        ways = [(len(some), part.shape.way) for part, some in by_shape(of_set, len(numbers))]
        sets[name] = {
            metric.key: mean,
            metric.ci95: half,
            metric.by_step: [mean_and_ci95(values)[0] for values in own.values[metric.column].numpy()],
            "loss_by_step": own.loss_by_step,
            metric.floor: float(own_floor.headline.double().mean()),
            "chance": sum(count / way for count, way in ways) / len(numbers),
            "test_tasks": len(numbers),
            "diverged": int(own.diverged.sum()),
            "stream_hash": of_set.hash(len(numbers)),
            "data_hash": _data_hash(of_set),
        }
    return {"sets": sets, metric.ci95: mean_over_sets([each[metric.ci95] for each in sets.values()])}


def mean_over_sets(halves: Sequence[float | None]) -> float | None:
    """Return the half-width of the interval of a mean over data sets, from those of each."""
    known = [half for half in halves if half is not None]
    return None if len(known) < len(halves) else math.sqrt(sum(half**2 for half in known)) / len(known)


def _data_hash(stream: TaskStream) -> str:
    part = by_shape(stream, 1)[0][0]
    assert isinstance(part, ClassTaskStream)
    return part.split_identity.rpartition("|")[0]


def of_tasks(found: Evaluation, numbers: torch.Tensor) -> Evaluation:
    """Return the values of some tasks (tasks,)."""
    return replace(found, values={name: values[:, numbers] for name, values in found.values.items()})
