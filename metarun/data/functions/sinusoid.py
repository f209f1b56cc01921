"""The sine waves of MAML's regression experiment."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from metarun.data.examples import Split
from metarun.data.functions.family import (
    Range,
    definition_of,
    describe_ranges,
    noise_deviation,
    number_range,
    ranges_of_test,
    with_ranges_of,
    within,
)


class Sinusoid:
    """Sine waves of random amplitude and phase: every task is one wave, to be regressed from a few of its points.

    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017, section 5.1
    (https://arxiv.org/abs/1703.03400). ``y = amplitude * sin(x - phase)``, all three drawn uniformly. Nothing is
    stored: meta-train, meta-val and meta-test differ in the random numbers that a task stream draws.

    Args:
        amplitude: (low, high).
        phase: (low, high), radians.
        x: (low, high), radians.
        noise: standard deviation of what is added to support targets; queries are noise-free.
        test_amplitude: of the meta-test tasks; None: like all others. So are the next two.
        test_phase: see `test_amplitude`.
        test_x: see `test_amplitude`.

    Raises:
        UserError: a range that is no two numbers, low below high; a negative noise.
    """

    name = "sinusoid"
    summary = "sine waves of random amplitude and phase: regression, a new wave in every task"
    licence = "none needed: a formula"
    shape = (1,)
    parameter_count = 2
    # Of the class unless set: attributes are in the hash of a user's subclass, which must not change.
    support_noise = 0.0
    test_ranges: Mapping[str, Range] = MappingProxyType({})

    def __init__(
        self,
        amplitude: Sequence[float] = (0.1, 5.0),
        phase: Sequence[float] = (0.0, math.pi),
        x: Sequence[float] = (-5.0, 5.0),
        noise: float = 0.0,
        test_amplitude: Sequence[float] | None = None,
        test_phase: Sequence[float] | None = None,
        test_x: Sequence[float] | None = None,
    ) -> None:
        self.amplitude = number_range("amplitude", amplitude)
        self.phase = number_range("phase", phase)
        self.x = number_range("x", x)
        if noise_deviation(noise):
            self.support_noise = float(noise)
        of_test = {"amplitude": test_amplitude, "phase": test_phase, "x": test_x}
        if found := ranges_of_test(number_range, of_test):
            self.test_ranges = found

    @property
    def _ranges(self) -> dict[str, Range]:
        return {"amplitude": self.amplitude, "phase": self.phase, "x": self.x}

    @property
    def hash(self) -> str:
        """SHA-256 of the formula and its ranges."""
        formula = "amplitude * sin(x - phase)"
        definition = definition_of(formula, self._ranges, self.test_ranges, self.support_noise)
        return hashlib.sha256(definition.encode()).hexdigest()

    def load(self) -> Self:
        """Return itself: there is nothing to find or build."""
        return self

    def where(self) -> str:
        """Where it would come from: nowhere, it is a formula."""
        return "built in (a formula)"

    def check(self) -> str:
        """Say what is drawn; there is no content that could be damaged."""
        return describe_ranges(self._ranges, self.test_ranges, self.support_noise)

    def for_split(self, split: Split) -> Self:
        """Return the family that a split draws from, see `FunctionFamily`."""
        return with_ranges_of(split, self)

    # `Any` below is a torch tensor, or whatever else has arithmetic, `...` indexing and `.sin()`: nothing in data/
    # imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Turn (..., 2) numbers in [0, 1) into amplitude and phase, (..., 2); the argument is left as it is."""
        scaled = uniform + 0.0  # a copy
        for column, bounds in enumerate((self.amplitude, self.phase)):
            scaled[..., column] = within(bounds, uniform[..., column])
        return scaled

    def inputs(self, uniform: Any) -> Any:
        """Turn numbers in [0, 1) into x, of the same shape."""
        return within(self.x, uniform)

    def outputs(self, parameters: Any, x: Any) -> Any:
        """Return y of the shape of x, (..., points, 1), for `parameters` (..., 1, 2) of the waves."""
        return parameters[..., 0:1] * (x - parameters[..., 1:2]).sin()
