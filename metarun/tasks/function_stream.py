"""Regression tasks, drawn from a family of functions."""

import hashlib

import torch
from torch import Tensor

from metarun.config.key_origins import set_by, source_key
from metarun.data import FunctionFamily
from metarun.data.examples import FloorVectors
from metarun.errors import UserError
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.families import (
    Draws,
    check_family,
    check_functions,
    draw,
    family_hash,
    family_of,
    numbers_per_point,
    output_count,
    support_noise,
)
from metarun.tasks.rng import as_normal, root_key, split_key, uniform
from metarun.tasks.stream import StreamSpec

CHECKED = 100  # functions of a family that are looked at before any is learned from


class FunctionTaskStream:
    """Regression tasks: one function of a family, seen at `shot` points and evaluated at `query` others."""

    available: int | None = None
    floor_vectors: FloorVectors = "raw"

    def __init__(self, family: FunctionFamily, spec: StreamSpec) -> None:
        split, shape, seed = spec.split, spec.shape, spec.seed
        check_family(family)
        if spec.disjoint:
            asked = f"test.interval=open{set_by('test.interval')}"
            raise UserError(f"{asked} but no two tasks of {family.name} share an example", "leave it at closed.")
        self._outputs = output_count(family)
        count = "one output" if self._outputs == 1 else f"{self._outputs} outputs"
        check_one_way(shape, family.name, f"a task of {family.name} is one function with {count}")
        self.shape = shape
        self._family = family_of(family, split)
        self._noise = support_noise(self._family)
        self._key = root_key(split, seed)
        self._normals_key, self._noise_key = root_key(split, seed, "normals"), root_key(split, seed, "noise")
        self._device, self._dtype = spec.device, spec.dtype
        check_functions(self._family, self._draws(0, CHECKED, 2))
        self._identity = f"{family_hash(self._family)}|{split}|{shape}"

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`; drawn in float64, so that every precision sees the same ones."""
        shot = self.shape.shot
        x, y = draw(self._family, self._draws(first, count, shot + self.shape.query))
        support_y, query_y = y[:, :shot], y[:, shot:].to(self._dtype)
        if self._noise:
            support_y = support_y + self._noise * self._normals(self._noise_key, first, count, shot, self._outputs)
        x = x.to(self._dtype)
        return TaskBatch(x[:, :shot], support_y.to(self._dtype), x[:, shot:], query_y, way=1)

    def _draws(self, first: int, count: int, points: int) -> Draws:
        """Return the random numbers that some tasks are made of; those of a point do not depend on later points."""
        keys = self._keys(self._key, first, count)
        inputs, normals = numbers_per_point(self._family)
        return Draws(
            uniform(keys, self._family.parameter_count),
            uniform(~keys, points * inputs).reshape(count, points, inputs),
            self._normals(self._normals_key, first, count, points, normals),
        )

    def _normals(self, root: int, first: int, count: int, points: int, numbers: int) -> Tensor:
        """Return (count, points, numbers) standard normal numbers."""
        drawn = uniform(self._keys(root, first, count), points * numbers)
        return as_normal(drawn).reshape(count, points, numbers)

    def _keys(self, root: int, first: int, count: int) -> Tensor:
        return split_key(root, torch.arange(first, first + count, device=self._device))

    def hash(self, count: int) -> str:
        """Return a SHA-256 over what the first `count` tasks are a pure function of."""
        return hashlib.sha256(f"{self._identity}|{self.shape.query}|{self._key}|{count}".encode()).hexdigest()


def check_one_way(shape: TaskShape, name: str, why: str) -> None:
    """Raise a UserError unless tasks are 1-way and of no group of classes, as in regression; `why` is a clause."""
    if shape.way != 1:
        key = source_key(shape.key("way"))
        ready_made = "`task=10points` or " if key == "task.way" else ""
        raise UserError(f"way={shape.way}{set_by(key)} but {why}", f"set {ready_made}`{key}=1`.")
    for of_classes in ("within", "across", "imbalance"):
        if (asked := getattr(shape, of_classes)) is not None:
            key = source_key(shape.key(of_classes))
            raise UserError(f"{key}={asked}{set_by(key)} but {name} has no classes", f"set `{key}=null`.")
