"""Is one run better than another? Paired differences on the same tasks; pure functions of arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr

from metarun.statistics import mean_and_ci95

RESAMPLES = 9_999
LEVEL = 0.05

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True)
class Paired:
    """What the same tasks say of two runs.

    Args:
        tasks: how many.
        difference: mean over the tasks of one run's figure minus the other's.
        ci95: half-width of its 95 % interval, by Student's t over the paired differences.
        p_t: of the paired t-test, two-sided.
        p_permutation: of the sign-flip permutation test, two-sided: how often the mean difference is as far from 0 when
            the sign of each task's difference is drawn at random.
        tasks_to_tell: about how many tasks would bring the interval clear of 0, if the difference is what it seems;
            None if there is no difference.
    """

    tasks: int
    difference: float
    ci95: float
    p_t: float
    p_permutation: float
    tasks_to_tell: int | None


def paired(one: ArrayLike, other: ArrayLike) -> Paired:
    """Compare two runs by their figures (n,) on the same n tasks, n at least 2."""
    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    mean, half = mean_and_ci95(differences)
    if half is None:
        raise ValueError("one task has no spread")
    if not differences.any():
        return Paired(len(differences), 0.0, 0.0, 1.0, 1.0, None)
    from scipy import stats  # a second that no other table needs

    flipped = stats.permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // len(differences)),
        rng=np.random.default_rng(0),
    )
    return Paired(
        tasks=len(differences),
        difference=mean,
        ci95=half,
        p_t=paired_t(differences),
        p_permutation=float(flipped.pvalue),
        tasks_to_tell=_tasks_to_tell(mean, float(differences.std(ddof=1))),
    )


def paired_t(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of the paired t-test, from the differences (n,) on the same n tasks.

    1 of a single task, which says nothing about spread. scipy.stats has the test too, and warns where all are equal.
    """
    if len(differences) < 2:
        return 1.0
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0:
        return 0.0 if mean else 1.0
    t = mean / (deviation / math.sqrt(len(differences)))
    return float(2 * stdtr(len(differences) - 1, -abs(t)))


def _tasks_to_tell(difference: float, deviation: float) -> int | None:
    """The n at which 1.96 deviations of the mean are as large as the difference; None: it is 0."""
    if difference == 0 or deviation == 0:
        return None
    return math.ceil((ndtri(1 - LEVEL / 2) * deviation / difference) ** 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for being several (Holm 1979): reject in order of size, each at its own level."""
    order = np.argsort(p_values)
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in corrected]


def verdict(found: Paired, corrected: float, less_is_better: bool) -> Verdict:
    """Say what a difference means, given its corrected p-value."""
    if corrected >= LEVEL:
        return "cannot tell"
    return "better" if (found.difference < 0) == less_is_better else "worse"
