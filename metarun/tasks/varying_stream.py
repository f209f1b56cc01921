"""Tasks of different sizes: the way and the shot of each are drawn from ranges, as in Meta-Dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metarun.config.key_origins import source_key
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.episode_stream import EpisodeStream
from metarun.tasks.mixture_stream import EachSetStream, MixtureStream
from metarun.tasks.rng import root_key, split_key, uniform
from metarun.tasks.stream import TaskStream, hash_of_parts


class VaryingTaskStream:
    """Classification tasks whose way and shot are drawn from ranges, each number equally likely.

    The sizes of task i are a pure function of the seed and of i, and so are its examples: task i is task i of the
    stream of its shape. Groups of `shape.within` that make no task of the largest way make none at all.

    Args:
        largest: the stream of the largest tasks.
        smallest: the smallest way and shot.
        seed: of the sizes.
    """

    available: int | None = None

    def __init__(self, largest: ClassTaskStream, smallest: tuple[int, int], seed: int) -> None:
        self.shape = largest.shape
        self.floor_vectors = largest.floor_vectors
        replace(self.shape, way=smallest[0], shot=smallest[1])  # refuses sizes below 1
        if smallest[0] < 2:
            raise UserError(
                f"way={smallest[0]}..{self.shape.way} leaves nothing to tell apart in some tasks",
                f"begin `{source_key(self.shape.key('way'))}` at 2 or more.",
            )
        self.smallest = smallest
        self.largest = largest
        self._key = root_key("sizes", largest.split_identity.rpartition("|")[2], seed)

    def sizes(self, first: int, count: int) -> Tensor:
        """Return (count, 2) the way and the shot of tasks `first` to `first + count - 1`."""
        keys = split_key(self._key, torch.arange(first, first + count))
        low = torch.tensor(self.smallest)
        options = torch.tensor([self.shape.way, self.shape.shot]) - low + 1
        return low + (uniform(keys, 2) * options).long()

    def by_shape(self, first: int, count: int, read_ahead: bool = True) -> list[tuple[ClassTaskStream, Tensor]]:
        """Return tasks `first` to `first + count - 1` as streams of equal tasks, each with its tasks' numbers here.

        `read_ahead` is for a stream that is drawn from several times, see `ReadAhead`.
        """
        numbers_of: dict[tuple[int, int], list[int]] = {}
        for number, (way, shot) in enumerate(self.sizes(first, count).tolist(), first):
            numbers_of.setdefault((way, shot), []).append(number)
        found = []
        for (way, shot), same in numbers_of.items():
            numbers = torch.tensor(same)
            shape = replace(self.shape, way=way, shot=shot)
            found.append((self.largest.of_shape(shape, numbers, read_ahead), numbers))
        return found

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks that are of one shape."""
        parts = self.by_shape(first, count)
        if len(parts) > 1:
            raise ValueError("tasks of several shapes are not one batch")
        return parts[0][0].draw(0, count)

    def hash(self, count: int) -> str:
        """Return a SHA-256 over the ranges and the hashes of the tasks of each shape."""
        identity = f"{self.smallest}|{self.shape}|{self.sizes(0, count).tolist()}"
        return hash_of_parts(identity, self.by_shape(0, count))


def batches_of(stream: TaskStream, first: int, count: int) -> Iterator[TaskBatch]:
    """Yield tasks `first` to `first + count - 1`, those of one shape together."""
    return (tasks for tasks, _ in numbered_batches(stream, first, count))


def numbered_batches(stream: TaskStream, first: int, count: int) -> Iterator[tuple[TaskBatch, Tensor]]:
    """Yield what `batches_of` does, each batch with the numbers of its tasks."""
    if not isinstance(stream, VaryingTaskStream):
        yield stream.draw(first, count), torch.arange(first, first + count)
        return
    for part, numbers in stream.by_shape(first, count, read_ahead=False):
        yield part.draw(0, len(numbers)), numbers


def like_first(stream: TaskStream, count: int) -> TaskBatch:
    """Return `count` tasks of the shape of the first one, for checks."""
    return by_shape(stream, count)[0][0].draw(0, count)


def by_shape(stream: TaskStream, tasks: int) -> list[tuple[TaskStream, Tensor]]:
    """Return the first tasks of a stream as streams of equal tasks, each with the numbers (tasks,) that they have."""
    if isinstance(stream, VaryingTaskStream | EpisodeStream):
        return [*stream.by_shape(0, tasks)]
    if isinstance(stream, MixtureStream | EachSetStream):
        parts: Sequence[tuple[TaskStream, Tensor]] = stream.parts(tasks)
        return [(equal, numbers[own]) for part, numbers in parts for equal, own in by_shape(part, len(numbers))]
    return [(stream, torch.arange(tasks))]


def size_texts(stream: TaskStream) -> tuple[int | str, int | str]:
    """Return the way and the shot of a stream's tasks, or the ranges that they are from: 5, "1..10"."""
    if isinstance(stream, EachSetStream):
        return size_texts(next(iter(stream.streams.values())))
    shape: TaskShape = stream.shape
    low = stream.smallest if isinstance(stream, VaryingTaskStream | EpisodeStream) else (shape.way, shape.shot)
    way, shot = (
        most if least == most else f"{least}..{most}" for least, most in zip(low, (shape.way, shape.shot), strict=True)
    )
    return way, shot
