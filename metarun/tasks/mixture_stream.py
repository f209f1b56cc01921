"""Tasks of several data sets: each from one of them by its weight, or from one after the other."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from metarun.data import Split
from metarun.system.inputs import map_inputs, to_device
from metarun.tasks.batch import TaskBatch
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.prefetch import ReadAhead
from metarun.tasks.rng import root_key, split_key, uniform
from metarun.tasks.stream import TaskStream, hash_of_parts


class MixtureStream:
    """Tasks that are each from one of several streams of one shape, drawn by their weights.

    Which stream task i is from is a pure function of the seed and of i, and it is task i of that stream. The classes of
    a task are numbered as those of all data sets, one after the other.

    Args:
        streams: by data set.
        weights: how often a task is from each, relative to the others.
        split: that the tasks are of.
        seed: of the draws.
    """

    available: int | None = None

    def __init__(
        self, streams: Mapping[str, ClassTaskStream], weights: Mapping[str, float], split: Split, seed: int
    ) -> None:
        self.streams = tuple(streams.values())
        self.shape, self.floor_vectors = self.streams[0].shape, self.streams[0].floor_vectors
        self._weights = tuple(weights[name] / sum(weights.values()) for name in streams)
        self._key = root_key("data set", split, seed)
        self._first_classes = (0, *accumulate(stream.class_count for stream in self.streams))
        read_ahead = any(stream.reads_ahead for stream in self.streams)
        self._gather: Callable[[int, int], TaskBatch] = ReadAhead(self._draw) if read_ahead else self._draw

    def sets(self, first: int, count: int) -> Tensor:
        """Return (count,) which of the streams tasks `first` to `first + count - 1` are from."""
        draws = uniform(split_key(self._key, torch.arange(first, first + count)), 1)[:, 0]
        limits = torch.tensor(self._weights, dtype=torch.float64).cumsum(0)[:-1]
        return torch.searchsorted(limits, draws, right=True)

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`."""
        return self._gather(first, count)

    def _draw(self, first: int, count: int) -> TaskBatch:
        sets = self.sets(first, count)
        parts = []
        for number, stream in enumerate(self.streams):
            if len(of_set := (sets == number).nonzero()[:, 0]):
                parts.append((of_set, _with_classes_from(stream, first + of_set, self._first_classes[number])))
        return in_order(parts)

    def parts(self, tasks: int) -> list[tuple[ClassTaskStream, Tensor]]:
        """Return the first tasks as streams of one data set each, with the numbers (tasks,) that they have here."""
        sets = self.sets(0, tasks)
        numbers = [(sets == number).nonzero()[:, 0] for number in range(len(self.streams))]
        return [
            (stream.of_shape(self.shape, own), own)
            for stream, own in zip(self.streams, numbers, strict=True)
            if len(own)
        ]

    def hash(self, count: int) -> str:
        """Return a SHA-256 over which data set each of the first tasks is from, and over those tasks."""
        return hash_of_parts(f"{self.sets(0, count).tolist()}", self.parts(count))


class EachSetStream:
    """Tasks of several data sets in turn: as many of each, and those that a test of one of them alone has.

    Task i is of data set i % n, and task i // n of its stream.

    Args:
        streams: by data set.
    """

    available: int | None = None

    def __init__(self, streams: Mapping[str, TaskStream]) -> None:
        self.streams = dict(streams)
        first = next(iter(streams.values()))
        self.shape, self.floor_vectors = first.shape, first.floor_vectors

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`."""
        numbers = torch.arange(first, first + count)
        sets = len(self.streams)
        parts = []
        for number, stream in enumerate(self.streams.values()):
            if len(of_set := (numbers % sets == number).nonzero()[:, 0]):
                parts.append((of_set, stream.draw(int(numbers[of_set[0]]) // sets, len(of_set))))
        return in_order(parts)

    def parts(self, tasks: int) -> list[tuple[TaskStream, Tensor]]:
        """Return the first tasks as streams of one data set each, with the numbers (tasks,) that they have here."""
        numbers = torch.arange(tasks)
        sets = len(self.streams)
        return [(stream, numbers[number::sets]) for number, stream in enumerate(self.streams.values())][:tasks]

    def hash(self, count: int) -> str:
        """Return a SHA-256 over the hashes of the tasks of each data set."""
        return hash_of_parts(f"in turn|{list(self.streams)}", self.parts(count))


def _with_classes_from(stream: ClassTaskStream, numbers: Tensor, first_class: int) -> TaskBatch:
    batch = stream.draw_numbers(numbers)
    assert batch.classes is not None
    return replace(batch, classes=batch.classes + first_class)


def in_order(parts: list[tuple[Tensor, TaskBatch]]) -> TaskBatch:
    """Join batches of equal tasks in the order of the places (tasks,) that each has its tasks at."""
    if len(parts) == 1:
        return parts[0][1]
    batches = [batch for _, batch in parts]
    order = to_device(torch.cat([places for places, _ in parts]).argsort(), batches[0].device)

    def joined(*tensors: Tensor) -> Tensor:
        return torch.cat(tensors)[order]

    classes = [batch.classes for batch in batches if batch.classes is not None]
    return TaskBatch(
        map_inputs(joined, *(batch.support_x for batch in batches)),
        joined(*(batch.support_y for batch in batches)),
        map_inputs(joined, *(batch.query_x for batch in batches)),
        joined(*(batch.query_y for batch in batches)),
        way=batches[0].way,
        classes=joined(*classes) if len(classes) == len(batches) else None,
    )
