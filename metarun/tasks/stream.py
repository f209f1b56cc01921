"""Numbered sequences of tasks: task i is a pure function of the stream and of i."""

from typing import Literal, Protocol

from metarun.data.examples import FloorVectors
from metarun.tasks.batch import TaskBatch, TaskShape

Kind = Literal["classification", "regression", "reinforcement learning"]


class TaskStream(Protocol):
    """A numbered sequence of tasks of one shape from one split.

    `available` is how many different ones there are; None: it is endless. `floor_vectors` is what the floor takes of an
    example, see `ClassDataset`.
    """

    shape: TaskShape
    available: int | None
    floor_vectors: FloorVectors

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`."""

    def hash(self, count: int) -> str:
        """Return a SHA-256 of the first `count` tasks: equal hashes mean the very same tasks."""
