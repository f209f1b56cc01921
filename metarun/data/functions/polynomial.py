"""Polynomials with random coefficients; of degree 1, linear functions."""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

from metarun.data.functions.family import (
    MAX_NUMBERS,
    Formula,
    Range,
    noise_deviation,
    number_range,
    positive_count,
    ranges_of_test,
    within,
)
from metarun.errors import UserError, counted

MAX_DEGREE = 20  # far above, powers overflow


class Polynomial(Formula):
    """Polynomials of one or several inputs: every task has coefficients of its own, drawn uniformly.

    An output is the sum of a coefficient times each monomial up to the degree: for inputs a and b and degree 2, of
    1, a, b, a^2, a b and b^2. Degree 1 is a linear function with an intercept.

    Args:
        degree: of the polynomials.
        inputs: numbers of a point.
        outputs: numbers of a value, each with coefficients of its own.
        coefficients: (low, high).
        x: (low, high) of every input.
        noise: standard deviation of what is added to support targets; queries are noise-free.
        test_coefficients: of the meta-test tasks; None: like all others.
        test_x: of the meta-test tasks; None: like all others.
    """

    def __init__(
        self,
        degree: int = 3,
        inputs: int = 1,
        outputs: int = 1,
        coefficients: Sequence[float] = (-1.0, 1.0),
        x: Sequence[float] = (-2.0, 2.0),
        noise: float = 0.0,
        test_coefficients: Sequence[float] | None = None,
        test_x: Sequence[float] | None = None,
    ) -> None:
        self.shape = (positive_count("inputs", inputs),)
        self.output_count = positive_count("outputs", outputs)
        self.degree = positive_count("degree", degree, most=MAX_DEGREE)
        self.parameter_count = math.comb(inputs + degree, degree) * outputs
        if self.parameter_count > MAX_NUMBERS:
            raise UserError(
                f"degree={degree}, inputs={inputs}, outputs={outputs} make {self.parameter_count:,} coefficients; at "
                f"most {MAX_NUMBERS:,} are possible",
                "lower one of `data.degree`, `data.inputs` and `data.outputs`.",
            )
        self.coefficients, self.x = number_range("coefficients", coefficients), number_range("x", x)
        self.support_noise = noise_deviation(noise)
        of_test = {"coefficients": test_coefficients, "x": test_x}
        self.test_ranges = ranges_of_test(number_range, of_test)
        kind = "linear functions" if degree == 1 else f"polynomials of degree {degree}"
        self.name = "linear" if degree == 1 else "polynomial"
        self.summary = f"{kind} with random coefficients: regression, a new one in every task"
        of_degree = (combinations_with_replacement(range(inputs), k) for k in range(degree + 1))
        self._monomials = [each for some in of_degree for each in some]  # the inputs to multiply: (), (0,), (0, 0)

    @property
    def _formula(self) -> str:
        return f"polynomial of degree {self.degree}, {self.shape[0]} inputs, {self.output_count} outputs"

    @property
    def _ranges(self) -> dict[str, Range]:
        return {"coefficients": self.coefficients, "x": self.x}

    def check(self) -> str:
        """See `Formula`."""
        return f"{counted(self.shape[0], 'input')}, {counted(self.output_count, 'output')}; {super().check()}"

    def parameters(self, uniform: Any) -> Any:
        """Turn numbers in [0, 1) into coefficients, of the same shape: all those of an output, then of the next."""
        return within(self.coefficients, uniform)

    def outputs(self, parameters: Any, x: Any) -> Any:
        """Return y (tasks, points, outputs) at x (tasks, points, inputs), for coefficients (tasks, 1, count).

        Terms are added one after the other, without a matrix product, so that the bits are those of any batch size.
        """
        coefficients = parameters.reshape(len(parameters), 1, self.output_count, -1)
        y = 0.0 * x[..., :1] + coefficients[..., 0]  # (tasks, points, outputs)
        for number, inputs in enumerate(self._monomials[1:], start=1):
            value = 1.0
            for i in inputs:
                value = value * x[..., i : i + 1]
            y = y + coefficients[..., number] * value
        return y
