"""Numbered sequences of tasks: task i is a pure function of the stream and of i."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from metarun.data import Split
from metarun.data.examples import FloorVectors
from metarun.tasks.batch import TaskBatch, TaskShape

Kind = Literal["classification", "regression", "reinforcement learning"]


@dataclass(frozen=True)
class StreamSpec:
    """Which tasks a stream draws, and as which tensors.

    Args:
        split: to draw from.
        shape: of the tasks; with `smallest` each draws its own size.
        seed: of the draws.
        device: of the tensors.
        dtype: of the floats.
        disjoint: draw tasks of which no two share an example.
    """

    split: Split
    shape: TaskShape
    seed: int
    device: torch.device
    dtype: torch.dtype
    disjoint: bool = False


def hash_of_parts(identity: str, parts: "Iterable[tuple[TaskStream, Tensor]]") -> str:
    """Return a SHA-256 over an identity and the tasks of streams, each with the numbers of its tasks."""
    digest = hashlib.sha256(identity.encode())
    for stream, numbers in parts:
        digest.update(stream.hash(len(numbers)).encode())
    return digest.hexdigest()


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
