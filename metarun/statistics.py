"""Intervals; pure functions of arrays."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def mean_and_ci95(values: ArrayLike) -> tuple[float, float | None]:
    """Return the mean over tasks and the half-width of its 95 % interval.

    Student's t over tasks: t(0.975, n - 1) * s / sqrt(n), with s the sample deviation (n - 1 in its denominator). The
    tasks are drawn with replacement from one set of classes, so the interval speaks of other tasks from these classes.

    Args:
        values: (n,) one figure per task.

    Returns:
        The half-width is None for fewer than two tasks, which say nothing about spread.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float(values.mean()), None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)
