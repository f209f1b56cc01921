"""Intervals and calibration; pure functions of arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW_TASKS = 30  # with fewer, Student's t assumes normal task values, which accuracies near 1 are not


def mean_and_ci95(values: ArrayLike) -> tuple[float, float | None]:
    """Return the mean over tasks and the half-width of its 95 % interval.

    Student's t over tasks: t(0.975, n - 1) * s / sqrt(n), with s the sample standard deviation (denominator n - 1). The
    tasks are drawn with replacement from one set of classes, so the interval is about other tasks from these classes.

    Args:
        values: (n,) one value per task.

    Returns:
        The half-width is None for fewer than two tasks.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float(values.mean()), None
    from scipy.special import stdtrit  # takes a fifth of a second; scipy.stats takes a whole one

    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def calibration_error(gaps: ArrayLike) -> tuple[float, float | None]:
    """Return the expected calibration error over queries (Guo et al. 2017) and its 95 % interval's half-width.

    The error is the sum over bins of the absolute mean gap. With the signs of the mean gaps held, it is a mean over
    tasks, whose interval is Student's t. For a calibrated method the error is above 0 by chance, and the interval does
    not contain 0.

    Args:
        gaps: (tasks, bins) confidence minus correctness, as `calibration_gaps` returns them.

    Returns:
        The half-width is None for fewer than two tasks.
    """
    gaps = np.asarray(gaps, dtype=np.float64)
    return mean_and_ci95(gaps @ np.sign(gaps.mean(0)))


@dataclass(frozen=True)
class Calibration:
    """Accuracy by confidence, in bins of equal width; empty bins are omitted.

    Args:
        confidence: (bins,) mean of each bin.
        accuracy: (bins,) mean of each bin.
        count: (bins,) number of values in each bin.
        error: the expected calibration error: the mean distance of the two, weighted by `count` (Guo et al. 2017).
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]
    error: float


def calibration(confidence: ArrayLike, accuracy: ArrayLike, bins: int = 15) -> Calibration:
    """Bin confidence and accuracy, both (n,) in [0, 1]."""
    confidence, accuracy = np.asarray(confidence, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    which = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    filled = counts > 0
    count = counts[filled]
    mean_confidence = np.bincount(which, confidence, bins)[filled] / count
    mean_accuracy = np.bincount(which, accuracy, bins)[filled] / count
    error = np.abs(mean_confidence - mean_accuracy) @ count / count.sum()
    return Calibration(mean_confidence, mean_accuracy, count, float(error))
