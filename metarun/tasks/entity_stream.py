"""Regression tasks, each of the rows of one entity."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.config.key_origins import set_by
from metarun.data import EntityDataset, Examples, Split
from metarun.data.examples import FloorVectors
from metarun.data.tables.entities import INPUTS, TARGETS
from metarun.errors import UserError, counted
from metarun.system.inputs import to_device
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.function_stream import check_one_way
from metarun.tasks.rng import root_key
from metarun.tasks.sampling import Disjoint, InOrder, WithReplacement, hash_of_rows
from metarun.tasks.stream import StreamSpec


class EntityTaskStream:
    """Regression tasks: `shot` rows of one entity of a split, and `query` other ones to predict.

    Where the data are in order, the support set is the first rows of the entity, and queries are drawn from the later
    ones. Disjoint tasks share no row, so there are only so many: in order, one an entity.
    """

    floor_vectors: FloorVectors = "raw"

    def __init__(self, data: EntityDataset, spec: StreamSpec) -> None:
        split, shape = spec.split, spec.shape
        examples = data.rows.splits[split]
        check_one_way(shape, data.name, f"a task of {data.name} is one entity")
        _check_can_serve(data.name, split, examples, shape)
        self.shape = shape
        self._values = examples.values
        self._identity = f"{data.hash}|{split}"
        self._device, self._dtype = spec.device, spec.dtype
        offsets, key, rows = torch.from_numpy(examples.offsets), root_key(split, spec.seed), shape.shot + shape.query
        self._choice: Disjoint | InOrder | WithReplacement
        if data.in_order:
            self._choice = InOrder.of(offsets, shape.shot, shape.query, key, spec.disjoint)
        elif spec.disjoint:
            self._choice = Disjoint.of(offsets, 1, rows, key)
        else:
            self._choice = WithReplacement(offsets, 1, rows, key)
        self.available: int | None = None
        if isinstance(self._choice, Disjoint):
            self.available = len(self._choice.table)
        elif isinstance(self._choice, InOrder) and self._choice.entities is not None:
            self.available = len(self._choice.entities)
        if self.available is not None and self.available < 2:
            raise UserError(
                f"test.interval=open{set_by('test.interval')} but split '{split}' of {data.name} has room for "
                f"{counted(self.available, 'task')} of {shape} with {shape.query} queries if no two tasks share a row",
                f"lower {shape.knob('shot', 'query')}, or use test.interval=closed.",
            )

    def rows(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Return which rows of the split tasks are made of: (count, shot) and (count, query)."""
        rows = self._choice.rows(torch.arange(first, first + count))[:, 0]
        return rows[:, : self.shape.shot], rows[:, self.shape.shot :]

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`."""
        support, query = self.rows(first, count)
        return TaskBatch(*self._take(support), *self._take(query), way=1)

    def _take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        found = np.take(np.asarray(self._values), rows.numpy(), axis=0)
        return self._as_tensor(found[INPUTS]), self._as_tensor(found[TARGETS])

    def _as_tensor(self, numbers: NDArray[np.float32]) -> Tensor:
        return to_device(torch.from_numpy(np.ascontiguousarray(numbers)), self._device).to(self._dtype)

    def hash(self, count: int) -> str:
        """Return a SHA-256 over the data set's hash, the setting and the rows of the first `count` tasks."""
        return hash_of_rows(f"{self._identity}|{self.shape}", self.rows, count)


def _check_can_serve(name: str, split: Split, examples: Examples, shape: TaskShape) -> None:
    smallest = int(examples.sizes.argmin())
    size = int(examples.sizes[smallest])
    if shape.shot + shape.query <= size:
        return
    lower = shape.to_lower("shot", "query", fits=lambda other: other.shot + other.query <= size)
    skip = f"skip such entities by `data.min_rows={shape.shot + shape.query}`"
    raise UserError(
        f"shot + query = {shape.shot} + {shape.query} but entity '{examples.class_names[smallest]}' in split '{split}' "
        f"of {name} has {counted(size, 'row')}",
        f"lower {lower}, or {skip}." if lower else f"{skip}.",
    )
