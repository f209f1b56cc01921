"""The sine waves of MAML's regression experiment."""

import math
from collections.abc import Sequence
from typing import Any

from metarun.data.functions.family import Formula, Range, columns_within, noise_deviation, number_range, ranges_of_test


class Sinusoid(Formula):
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
    """

    name = "sinusoid"
    summary = "sine waves of random amplitude and phase: regression, a new wave in every task"
    shape = (1,)
    parameter_count = 2
    _formula = "amplitude * sin(x - phase)"

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
        if noise_deviation(noise):  # else the class has it, see `Formula`
            self.support_noise = float(noise)
        of_test = {"amplitude": test_amplitude, "phase": test_phase, "x": test_x}
        if found := ranges_of_test(number_range, of_test):
            self.test_ranges = found

    @property
    def _ranges(self) -> dict[str, Range]:
        return {"amplitude": self.amplitude, "phase": self.phase, "x": self.x}

    # `Any` below is a torch tensor, or whatever else has arithmetic, `...` indexing and `.sin()`: nothing in data/
    # imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Turn (..., 2) numbers in [0, 1) into amplitude and phase, (..., 2)."""
        return columns_within((self.amplitude, self.phase), uniform)

    def outputs(self, parameters: Any, x: Any) -> Any:
        """Return y of the shape of x, (..., points, 1), for `parameters` (..., 1, 2) of the waves."""
        return parameters[..., 0:1] * (x - parameters[..., 1:2]).sin()
