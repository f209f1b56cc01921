"""Tasks that a user has listed, of any way and of unequal shots."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.data.examples import FloorVectors
from metarun.data.own.episodes import Episode, Episodes
from metarun.system.inputs import Inputs, as_tensors, to_network
from metarun.tasks.batch import TaskBatch, TaskShape


class EpisodeStream:
    """Listed tasks, in their order; after the last one they come again.

    Args:
        episodes: the tasks.
        floor_vectors: see `ClassDataset`.
        device: of the tensors.
        dtype: of the floats.
        numbers: of those that it consists of; None: all.

    Attributes:
        shape: the largest way, shot and queries per class.
        smallest: the smallest way and shot.
    """

    def __init__(
        self,
        episodes: Episodes,
        floor_vectors: FloorVectors,
        device: torch.device,
        dtype: torch.dtype,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self._episodes = episodes
        self._numbers = range(len(episodes)) if numbers is None else numbers
        self.floor_vectors = floor_vectors
        self._device, self._dtype = device, dtype
        tasks = [episodes.episodes[i] for i in self._numbers]
        queries = max(-(-len(task.query) // task.way) for task in tasks)
        way, shot = max(task.way for task in tasks), max(int(task.shots.max()) for task in tasks)
        self.shape = TaskShape(way, shot, queries)
        self.smallest = min(task.way for task in tasks), min(int(task.shots.min()) for task in tasks)
        self.available: int | None = len(tasks)

    @property
    def has_equal_shots(self) -> bool:
        """Whether the classes of a task have the same number of support examples, in all tasks."""
        return all(len({*self._episodes.episodes[i].shots.tolist()}) == 1 for i in self._numbers)

    def by_shape(self, first: int, count: int) -> "list[tuple[EpisodeStream, Tensor]]":
        """Return tasks `first` to `first + count - 1` as streams of equal sizes, each with its tasks' numbers here."""
        numbers_of: dict[tuple[int, int, int], list[int]] = {}
        for number in range(first, first + count):
            task = self._task(number)
            numbers_of.setdefault((task.way, len(task.support), len(task.query)), []).append(number)
        found = []
        for same in numbers_of.values():
            of_same = [self._numbers[number % len(self._numbers)] for number in same]
            part = EpisodeStream(self._episodes, self.floor_vectors, self._device, self._dtype, of_same)
            found.append((part, torch.tensor(same)))
        return found

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks of one size."""
        tasks = [self._task(number) for number in range(first, first + count)]
        if len({(task.way, len(task.support), len(task.query)) for task in tasks}) > 1:
            raise ValueError("tasks of several sizes are not one batch")
        return TaskBatch(
            self._take([task.support for task in tasks]),
            self._targets([task.support_y for task in tasks]),
            self._take([task.query for task in tasks]),
            self._targets([task.query_y for task in tasks]),
            tasks[0].way,
        )

    def hash(self, count: int) -> str:
        """Return a SHA-256 over the first `count` tasks."""
        chosen = [self._task(number) for number in range(count)]
        return hashlib.sha256(replace(self._episodes, episodes=chosen).hash.encode()).hexdigest()

    def _task(self, number: int) -> Episode:
        return self._episodes.episodes[self._numbers[number % len(self._numbers)]]

    def _take(self, rows: list[NDArray[np.int64]]) -> Inputs:
        stored = as_tensors(self._episodes.values[np.stack(rows)], self._device)
        return to_network(stored, self._device, self._dtype)

    def _targets(self, targets: list[NDArray[Any]]) -> Tensor:
        stacked = torch.from_numpy(np.stack(targets)).to(self._device)
        return stacked.to(self._dtype) if stacked.is_floating_point() else stacked
