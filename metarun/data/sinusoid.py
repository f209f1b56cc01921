"""The sine waves of MAML's regression experiment."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from metarun.errors import UserError


class Sinusoid:
    """Sine waves of random amplitude and phase: every task is one wave, to be regressed from a few of its points.

    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017, section 5.1
    (https://arxiv.org/abs/1703.03400). ``y = amplitude * sin(x - phase)``, all three drawn uniformly. Nothing is
    stored: meta-train, meta-val and meta-test differ in the random numbers that a task stream draws.

    Args:
        amplitude: (low, high).
        phase: (low, high), radians.
        x: (low, high), radians.

    Raises:
        UserError: a range that is no two numbers, low below high.
    """

    name = "sinusoid"
    summary = "sine waves of random amplitude and phase: regression, a new wave in every task"
    licence = "none needed: a formula"
    shape = (1,)
    parameter_count = 2

    def __init__(
        self,
        amplitude: Sequence[float] = (0.1, 5.0),
        phase: Sequence[float] = (0.0, math.pi),
        x: Sequence[float] = (-5.0, 5.0),
    ) -> None:
        self.amplitude = _range("amplitude", amplitude)
        self.phase = _range("phase", phase)
        self.x = _range("x", x)

    @property
    def hash(self) -> str:
        """SHA-256 of the formula and its ranges."""
        definition = f"amplitude * sin(x - phase)|amplitude {self.amplitude}|phase {self.phase}|x {self.x}"
        return hashlib.sha256(definition.encode()).hexdigest()

    def load(self) -> "Sinusoid":
        """Return itself: there is nothing to find or build."""
        return self

    def where(self) -> str:
        """Where it would come from: nowhere, it is a formula."""
        return "built in (a formula)"

    def check(self) -> str:
        """Say what is drawn; there is no content that could be damaged."""
        ranges = (("amplitude", self.amplitude), ("phase", self.phase), ("x", self.x))
        return ", ".join(f"{knob} {low:g} to {high:g}" for knob, (low, high) in ranges)

    # `Any` below is a torch tensor, or whatever else has arithmetic, `...` indexing and `.sin()`: nothing in data/
    # imports torch, and the random numbers belong to the task stream.

    def parameters(self, uniform: Any) -> Any:
        """Turn (..., 2) numbers in [0, 1) into amplitude and phase, (..., 2); the argument is left as it is."""
        scaled = uniform + 0.0  # a copy
        for column, (low, high) in enumerate((self.amplitude, self.phase)):
            scaled[..., column] = low + (high - low) * uniform[..., column]
        return scaled

    def inputs(self, uniform: Any) -> Any:
        """Turn numbers in [0, 1) into x, of the same shape."""
        low, high = self.x
        return low + (high - low) * uniform

    def outputs(self, parameters: Any, x: Any) -> Any:
        """Return y of the shape of x, (..., points, 1), for `parameters` (..., 1, 2) of the waves."""
        return parameters[..., 0:1] * (x - parameters[..., 1:2]).sin()


def _range(knob: str, bounds: Sequence[float]) -> tuple[float, float]:
    if len(bounds) != 2 or not -math.inf < bounds[0] < bounds[1] < math.inf:
        raise UserError(
            f"{knob}={list(bounds)} but a range is [low, high] with low below high", f"correct `data.{knob}`."
        )
    return float(bounds[0]), float(bounds[1])
