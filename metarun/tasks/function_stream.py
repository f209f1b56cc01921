"""Regression tasks, drawn from a family of functions."""

import hashlib

import torch
from torch import Tensor

from metarun.config.key_origins import set_by, source_key
from metarun.data import Sinusoid, Split
from metarun.data.examples import FloorVectors
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.families import check_family, check_functions, draw, family_hash
from metarun.tasks.rng import root_key, split_key, uniform

CHECKED = 100  # functions of a family that are looked at before any is learned from


class FunctionTaskStream:
    """Regression tasks: one function of a family, seen at `shot` points and evaluated at `query` others."""

    available: int | None = None
    floor_vectors: FloorVectors = "raw"

    def __init__(
        self,
        family: Sinusoid,
        split: Split,
        shape: TaskShape,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        disjoint: bool = False,
    ) -> None:
        check_family(family)
        if disjoint:
            asked = f"test.interval=open{set_by('test.interval')}"
            raise UserError(f"{asked} but no two tasks of {family.name} share an example", "leave it at closed.")
        check_one_way(shape, family.name, f"{family.name} is a function with one output")
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


def check_one_way(shape: TaskShape, name: str, why: str) -> None:
    """Raise a UserError unless tasks are 1-way and of no group of classes, as in regression; `why` is a clause."""
    if shape.way != 1:
        key = source_key(shape.keys[0])
        ready_made = "`task=10points` or " if key == "task.way" else ""
        raise UserError(f"way={shape.way}{set_by(key)} but {why}", f"set {ready_made}`{key}=1`.")
    if shape.within is not None:
        key = source_key(shape.keys[3])
        raise UserError(f"{key}={shape.within}{set_by(key)} but {name} has no classes", f"set `{key}=null`.")
