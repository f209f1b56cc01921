"""Families of functions: their interface, and the ranges that the built-in ones draw from."""

import copy
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, Self

from metarun.data.built_in import BuiltIn
from metarun.data.examples import Split
from metarun.errors import UserError
from metarun.system.limits import check_data_between

Range = tuple[float, float]
MAX_NUMBERS = 10_000  # inputs, outputs or coefficients of a function

# `Any` below is a torch tensor: nothing in data/ imports torch, and the random numbers belong to the task stream.


class FunctionFamily(Protocol):
    """What regression tasks can be drawn from: every task is one function, seen at a few points.

    A family may also have:

    - `output_count: int`, the numbers that a function returns; without it, 1.
    - `normals_per_point: int`, for random functions such as draws of a Gaussian process: so many standard normal
      numbers for each point are the third argument of `outputs`, (..., points, normals_per_point).
    - `support_noise: float`, the standard deviation of normal noise that is added to the targets of support sets.
    - `for_split(split)`, which returns the family that a split draws from.
    - `check()`, which says in one line what is drawn.

    Attributes:
        name: what messages call it.
        shape: (inputs,) of a point.
        parameter_count: random numbers that make a function.
        hash: a text that identifies what `parameters`, `inputs` and `outputs` depend on.
    """

    name: str
    shape: tuple[int, ...]
    parameter_count: int

    @property
    def hash(self) -> str:
        """A text; families with equal texts have equal tasks."""

    def parameters(self, uniform: Any) -> Any:
        """Turn (..., parameter_count) numbers in [0, 1) into the parameters of functions, of the same shape."""

    def inputs(self, uniform: Any) -> Any:
        """Turn numbers in [0, 1) into points, of the same shape: (tasks, points, inputs), or (tasks, points) of one."""

    def outputs(self, parameters: Any, x: Any) -> Any:
        """Return (tasks, points, outputs) values at x (tasks, points, inputs), for parameters (tasks, 1, count)."""


class Formula(BuiltIn, ABC):
    """A built-in family, which is its own data source.

    Its constructor raises a UserError for a range, a count or a noise that is none.

    Attributes:
        x: (low, high) of every input.
        test_ranges: those of meta-test, by the attribute that they replace.
        support_noise: see `FunctionFamily`.
    """

    # Of the class unless set: attributes are in the hash of a user's subclass, which must not change.
    support_noise = 0.0
    test_ranges: Mapping[str, Range] = MappingProxyType({})
    x: Range

    @property
    @abstractmethod
    def _formula(self) -> str:
        """What the hash depends on besides the ranges."""

    @property
    @abstractmethod
    def _ranges(self) -> Mapping[str, Range]:
        """That it draws from, by the attributes that hold them."""

    @property
    def hash(self) -> str:
        """SHA-256 of the formula and its ranges."""
        parts = [self._formula, *(f"{knob} {bounds}" for knob, bounds in self._ranges.items())]
        parts += [f"test {knob} {bounds}" for knob, bounds in self.test_ranges.items()]
        parts += [f"noise {self.support_noise}"] if self.support_noise else []
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def inputs(self, uniform: Any) -> Any:
        """Turn numbers in [0, 1) into x, of the same shape."""
        return within(self.x, uniform)

    def check(self) -> str:
        """Say what is drawn: "x -5 to 5, slope -3 to 3; meta-test: x 5 to 10; noise 0.1 on support targets"."""
        parts = [_listed(self._ranges)]
        parts += [f"meta-test: {_listed(self.test_ranges)}"] if self.test_ranges else []
        parts += [f"noise {self.support_noise:g} on support targets"] if self.support_noise else []
        return "; ".join(parts)

    def for_split(self, split: Split) -> Self:
        """Return the family that a split draws from: for meta-test, one with the ranges in `test_ranges`.

        It has no `test_ranges` itself, so that equal tasks have equal hashes, however they were asked for.
        """
        if not self.test_ranges:
            return self
        changed = copy.copy(self)
        changed.test_ranges = {}
        for name, bounds in self.test_ranges.items() if split == "test" else ():
            setattr(changed, name, bounds)
        return changed


def _listed(ranges: Mapping[str, Range]) -> str:
    return ", ".join(f"{knob} {low:g} to {high:g}" for knob, (low, high) in ranges.items())


def number_range(knob: str, bounds: Sequence[float]) -> Range:
    """Return (low, high); raise a UserError unless they are two finite numbers, low below high."""
    if len(bounds) != 2 or not -math.inf < bounds[0] < bounds[1] < math.inf:
        raise UserError(
            f"{knob}={list(bounds)} but a range is [low, high] with low below high", f"correct `data.{knob}`."
        )
    return float(bounds[0]), float(bounds[1])


def scale_range(knob: str, bounds: Sequence[float]) -> Range:
    """Return (low, high) of a length or a deviation; raise a UserError unless 0 < low <= high."""
    if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] < math.inf:
        raise UserError(
            f"{knob}={list(bounds)} but a range is [low, high] with 0 < low <= high", f"correct `data.{knob}`."
        )
    return float(bounds[0]), float(bounds[1])


def ranges_of_test(
    check: Callable[[str, Sequence[float]], Range], bounds: Mapping[str, Sequence[float] | None]
) -> Mapping[str, Range]:
    """Return those ranges that are given, by name; `check` is `number_range` or `scale_range`."""
    return {name: check(f"test_{name}", each) for name, each in bounds.items() if each is not None}


def positive_count(knob: str, count: int, most: int = MAX_NUMBERS) -> int:
    """Return the count; raise a UserError unless it is from 1 to `most`."""
    check_data_between(knob, count, 1, most)
    return count


def noise_deviation(noise: float) -> float:
    """Return the deviation; raise a UserError if it is negative or not finite."""
    if not 0 <= noise < math.inf:
        raise UserError(f"noise={noise} but a standard deviation cannot be negative or infinite", "raise `data.noise`.")
    return float(noise)


def columns_within(bounds: Sequence[Range], uniform: Any) -> Any:
    """Turn (..., n) numbers in [0, 1) into numbers in n ranges, of the same shape; the argument is left as it is."""
    scaled = uniform + 0.0  # a copy
    for column, each in enumerate(bounds):
        scaled[..., column] = within(each, uniform[..., column])
    return scaled


def within(bounds: Range, uniform: Any) -> Any:
    """Turn numbers in [0, 1) into numbers in a range, of the same shape."""
    low, high = bounds
    return low + (high - low) * uniform
