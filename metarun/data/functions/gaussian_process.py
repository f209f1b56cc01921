"""Draws from Gaussian processes with an RBF kernel."""

from collections.abc import Mapping, Sequence
from typing import Any

from metarun.data.functions.family import (
    Formula,
    Range,
    columns_within,
    noise_deviation,
    number_range,
    positive_count,
    ranges_of_test,
    scale_range,
)
from metarun.errors import counted

JITTER = 1e-8  # added to the variance, of which it is a share: nearby points would make the matrix singular


class GaussianProcess(Formula):
    """Draws from Gaussian processes of mean zero: every task is one function, with a lengthscale of its own.

    Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, equation 2.31 and appendix A.2
    (http://gaussianprocess.org/gpml). The covariance of values at a and b is
    ``amplitude^2 * exp(-|a - b|^2 / (2 lengthscale^2))``. The values at the support and query points of a task are one
    exact draw from their joint distribution, in float64. Outputs are independent draws.

    Args:
        inputs: numbers of a point.
        outputs: numbers of a value.
        lengthscale: (low, high) of a task's, drawn uniformly; equal numbers fix it.
        amplitude: (low, high) of a task's standard deviation, drawn uniformly.
        x: (low, high) of every input.
        noise: standard deviation of what is added to support targets; queries are noise-free.
        test_lengthscale: of the meta-test tasks; None: like all others. So are the next two.
        test_amplitude: see `test_lengthscale`.
        test_x: see `test_lengthscale`.
    """

    name = "gp"
    summary = "draws from Gaussian processes (RBF kernel): regression, a new function in every task"
    parameter_count = 2

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        lengthscale: Sequence[float] = (0.25, 1.0),
        amplitude: Sequence[float] = (1.0, 1.0),
        x: Sequence[float] = (-2.0, 2.0),
        noise: float = 0.0,
        test_lengthscale: Sequence[float] | None = None,
        test_amplitude: Sequence[float] | None = None,
        test_x: Sequence[float] | None = None,
    ) -> None:
        self.shape = (positive_count("inputs", inputs),)
        self.output_count = self.normals_per_point = positive_count("outputs", outputs)
        self.lengthscale = scale_range("lengthscale", lengthscale)
        self.amplitude = scale_range("amplitude", amplitude)
        self.x = number_range("x", x)
        self.support_noise = noise_deviation(noise)
        scales = {"lengthscale": test_lengthscale, "amplitude": test_amplitude}
        self.test_ranges: Mapping[str, Range] = {
            **ranges_of_test(scale_range, scales),
            **ranges_of_test(number_range, {"x": test_x}),
        }

    @property
    def _formula(self) -> str:
        return f"RBF Gaussian process, jitter {JITTER}, {self.shape[0]} inputs, {self.output_count} outputs"

    @property
    def _ranges(self) -> dict[str, Range]:
        return {"lengthscale": self.lengthscale, "amplitude": self.amplitude, "x": self.x}

    def check(self) -> str:
        """See `Formula`."""
        return f"{counted(self.shape[0], 'input')}, {counted(self.output_count, 'output')}; {super().check()}"

    def parameters(self, uniform: Any) -> Any:
        """Turn (..., 2) numbers in [0, 1) into lengthscale and amplitude, (..., 2)."""
        return columns_within((self.lengthscale, self.amplitude), uniform)

    def outputs(self, parameters: Any, x: Any, normals: Any) -> Any:
        """Return y (tasks, points, outputs) at x (tasks, points, inputs): L z for the Cholesky factor L of the kernel.

        Args:
            parameters: (tasks, 1, 2) lengthscale and amplitude.
            x: (tasks, points, inputs).
            normals: (tasks, points, outputs), z.
        """
        lengthscale, amplitude = parameters[..., 0:1], parameters[..., 1:2]  # (tasks, 1, 1)
        return amplitude * _correlated(_kernel(x, lengthscale), normals)


def _kernel(x: Any, lengthscale: Any) -> Any:
    """Return the (tasks, points, points) RBF kernel of variance 1, with jitter."""
    squares: Any = 0.0
    for i in range(x.shape[-1]):  # not a sum over the last dimension, whose bits may depend on the batch size
        difference = (x[:, :, None, i] - x[:, None, :, i]) / lengthscale
        squares = squares + difference * difference
    kernel: Any = (-0.5 * squares).exp()
    for i in range(x.shape[1]):
        kernel[:, i, i] += JITTER
    return kernel


def _correlated(covariance: Any, normals: Any) -> Any:
    """Return L z for the Cholesky factor L of (tasks, n, n) matrices, which this overwrites, and z (tasks, n, outputs).

    Column by column, by elementwise operations alone: the bits do not depend on how many tasks are drawn at once, as
    those of a batched factorisation may.
    """
    values = 0.0 * normals
    for j in range(covariance.shape[1]):
        column = covariance[:, j:, j : j + 1] / covariance[:, j : j + 1, j : j + 1] ** 0.5  # (tasks, n - j, 1)
        values[:, j:] += column * normals[:, j : j + 1]
        covariance[:, j:, j:] -= column * column[:, :, 0][:, None]
    return values
