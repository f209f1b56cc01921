"""Few-shot tasks, and the streams that draw them: task i is a pure function of what the stream is made of and of i."""

import copy
import hashlib
from collections.abc import Callable
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from metarun.config.keys_in_force import followed, set_by
from metarun.data import ClassDataset, Examples, Sinusoid, Split
from metarun.errors import UserError, counted
from metarun.tasks.batch import TaskBatch, TaskShape, chunks
from metarun.tasks.families import check_family, check_functions, draw, family_hash
from metarun.tasks.prefetch import ReadAhead
from metarun.tasks.rng import root_key, split_key, uniform
from metarun.tasks.sampling import Disjoint, WithReplacement


class TaskStream(Protocol):
    """A numbered sequence of tasks of one shape from one split.

    `available` is how many different ones there are; None: it is endless.
    """

    shape: TaskShape
    available: int | None

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`."""

    def hash(self, count: int) -> str:
        """Return a SHA-256 of the first `count` tasks: equal hashes mean the very same tasks."""


def task_stream(
    data: ClassDataset | Sinusoid,
    split: Split,
    shape: TaskShape,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    disjoint: bool = False,
) -> TaskStream:
    """Make the stream that draws from `split` of `data`; `disjoint`: so that no two tasks share an example.

    Raises:
        UserError: the split cannot serve such tasks; the message names the class and the numbers.
    """
    if isinstance(data, ClassDataset):
        return ClassTaskStream(data, split, shape, seed, device, dtype, disjoint)
    if disjoint:
        asked = f"test.interval=open{set_by('test.interval')}"
        raise UserError(f"{asked} but no two tasks of {data.name} share an example", "leave it at closed.")
    return FunctionTaskStream(data, split, shape, seed, device, dtype)


_Stored = tuple[Tensor, Tensor, Tensor]  # of some tasks: support and query as they are stored, and the classes' numbers


class ClassTaskStream:
    """Classification tasks: `way` classes of a split, and of each `shot + query` different examples.

    `disjoint` ones share no example, so there are only so many; others draw theirs with replacement, without end.

    A task's classes come in random order, and the place in that order is the label: so labels are permuted per task.
    Examples in memory are held by the device; those on disk are read while the tasks before them are worked on.
    """

    def __init__(
        self,
        data: ClassDataset,
        split: Split,
        shape: TaskShape,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        disjoint: bool = False,
    ) -> None:
        examples = data.splits[split]
        _check_can_serve(data.name, split, examples, shape)
        self.shape = shape
        self.split_identity = f"{data.hash}|{split}"
        self._device, self._dtype = device, dtype
        self._divisor = examples.divisor
        self._values = np.asarray(examples.values) if examples.on_disk else torch.from_numpy(examples.values).to(device)
        self._offsets = torch.from_numpy(examples.offsets).to("cpu" if examples.on_disk else device)
        per_class, key = shape.shot + shape.query, root_key(split, seed)
        self._choice: Disjoint | WithReplacement
        if disjoint:
            self._choice = Disjoint.of(self._offsets, shape.way, per_class, key).on(self._offsets.device)
            _check_enough(data.name, split, len(self._choice.table), examples, shape)
        else:
            self._choice = WithReplacement(self._offsets, shape.way, per_class, key)
        self.available = len(self._choice.table) if isinstance(self._choice, Disjoint) else None
        self._gather: Callable[[int, int], _Stored] = ReadAhead(self._look_up) if examples.on_disk else self._look_up

    def rows(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Return which examples tasks are made of: (count, way, shot) and (count, way, query) rows of the split."""
        rows = self._choice.rows(first, count)
        return rows[..., : self.shape.shot], rows[..., self.shape.shot :]

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`; uint8 become floats only here."""
        support, query, classes = self._gather(first, count)
        return TaskBatch(
            *self._labelled(support, self.shape.shot),
            *self._labelled(query, self.shape.query),
            way=self.shape.way,
            classes=classes.to(self._device),
        )

    @property
    def examples(self) -> int:
        """How many the split has."""
        return len(self._values)

    def embed(self, embed: Callable[[Tensor], Tensor], at_once: int) -> Tensor:
        """Return the features (examples, features) of the split.

        Args:
            embed: maps (n, *shape) examples to (n, features).
            at_once: the largest n.
        """
        every = torch.arange(self.examples, device=self._offsets.device)
        return torch.cat([embed(self._as_floats(self._take(rows))) for rows in torch.split(every, at_once)])

    def of_features(self, features: Tensor) -> Self:
        """Return the stream of the same tasks with features (examples, features) in the examples' place."""
        of_features = copy.copy(self)
        of_features._values, of_features._divisor = features, 1
        of_features._offsets, of_features._choice = self._offsets.to(self._device), self._choice.on(self._device)
        of_features._gather = of_features._look_up
        return of_features

    def _look_up(self, first: int, count: int) -> _Stored:
        support, query = self.rows(first, count)
        return self._take(support.flatten(1)), self._take(query.flatten(1)), self.class_of(support[..., 0])

    def class_of(self, rows: Tensor) -> Tensor:
        """Return the number, within the split, of the class of each of some rows."""
        return torch.searchsorted(self._offsets.to(rows.device), rows.contiguous(), right=True) - 1

    def _take(self, rows: Tensor) -> Tensor:
        if isinstance(self._values, Tensor):
            found = self._values.index_select(0, rows.flatten())  # faster than by [rows]
            return found.reshape(*rows.shape, *found.shape[1:])
        return torch.from_numpy(np.take(self._values, rows.numpy(), axis=0))  # torch would not share a read-only map

    def _labelled(self, stored: Tensor, per_class: int) -> tuple[Tensor, Tensor]:
        x = self._as_floats(stored)
        y = torch.arange(self.shape.way, device=self._device).repeat_interleave(per_class)
        return x, y.expand(len(x), -1)

    def _as_floats(self, stored: Tensor) -> Tensor:
        return stored.to(self._device).to(self._dtype) / self._divisor

    def hash(self, count: int) -> str:
        """Return a SHA-256 over the data set's hash, the setting and the rows of the first `count` tasks."""
        digest = hashlib.sha256(f"{self.split_identity}|{self.shape}".encode())
        for first, size in chunks(count, 1024):
            for rows in self.rows(first, size):
                digest.update(rows.cpu().numpy().tobytes())
        return digest.hexdigest()


def _check_can_serve(name: str, split: Split, examples: Examples, shape: TaskShape) -> None:
    classes = len(examples.class_names)
    if classes < 2:
        raise UserError(f"split '{split}' of {name} has 1 class, which leaves nothing to tell apart", "give it more.")
    if shape.way < 2:
        raise UserError(
            f"way={shape.way} leaves nothing to tell apart in {name}", f"raise {shape.knob('way')} to 2 or more."
        )
    if shape.way > classes:
        raise UserError(
            f"way={shape.way} but split '{split}' of {name} has {classes} classes",
            f"lower {shape.knob('way')} or use another split.",
        )
    smallest = int(examples.sizes.argmin())
    size = int(examples.sizes[smallest])
    if shape.shot + shape.query > size:
        lower = shape.to_lower("shot", "query", fits=lambda other: other.shot + other.query <= size)
        raise UserError(
            f"shot + query = {shape.shot} + {shape.query} but class '{examples.class_names[smallest]}' in split "
            f"'{split}' of {name} has {counted(size, 'example')}; "
            + (f"lower {lower}." if lower else "a task takes at least 2 of each class: add some, or leave it out.")
        )


def _check_enough(name: str, split: Split, tasks: int, examples: Examples, shape: TaskShape) -> None:
    if tasks >= 2:
        return

    def fits(other: TaskShape) -> bool:
        return int((examples.sizes // (other.shot + other.query)).sum()) >= 2 * other.way

    lower = shape.to_lower("way", "shot", "query", fits=fits) or shape.knob("way", "shot", "query")
    raise UserError(
        f"test.interval=open{set_by('test.interval')} but split '{split}' of {name} has room for "
        f"{counted(tasks, 'task')} of {shape} with {shape.query} queries without an example in two",
        f"lower {lower}, or use test.interval=closed.",
    )


CHECKED = 100  # functions of a family that are looked at before any is learned from


class FunctionTaskStream:
    """Regression tasks: one function of a family, seen at `shot` points and judged at `query` others."""

    available: int | None = None

    def __init__(
        self, family: Sinusoid, split: Split, shape: TaskShape, seed: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        check_family(family)
        if shape.way != 1:
            key = followed(shape.keys[0])
            ready_made = "`task=10points` or " if key == "task.way" else ""
            raise UserError(
                f"way={shape.way}{set_by(key)} but {family.name} is a function with one output",
                f"set {ready_made}`{key}=1`.",
            )
        self.shape = shape
        self._family = family
        self._key = root_key(split, seed)
        self._device, self._dtype = device, dtype
        check_functions(family, *self._uniform(0, CHECKED, 2))
        self._identity = f"{family_hash(family)}|{split}|{shape}"

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`; drawn in float64, so that every precision sees the same ones."""
        x, y = draw(self._family, *self._uniform(first, count, self.shape.shot + self.shape.query))
        x, y = x.to(self._dtype), y.to(self._dtype)
        shot = self.shape.shot
        return TaskBatch(x[:, :shot], y[:, :shot], x[:, shot:], y[:, shot:], way=1)

    def _uniform(self, first: int, count: int, points: int) -> tuple[Tensor, Tensor]:
        """Return the numbers in [0, 1) that some tasks are made of, for parameters and for points."""
        keys = split_key(self._key, torch.arange(first, first + count, device=self._device))
        return uniform(keys, self._family.parameter_count), uniform(~keys, points)

    def hash(self, count: int) -> str:
        """Return a SHA-256 over what the first `count` tasks are a pure function of."""
        return hashlib.sha256(f"{self._identity}|{self.shape.query}|{self._key}|{count}".encode()).hexdigest()
