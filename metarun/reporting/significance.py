"""Is one run, or one method, better than another? Differences on the same tasks; pure functions of arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from metarun.results.statistics import mean_and_ci95

RESAMPLES = 9_999
LEVEL = 0.05
MANY = 1_000  # seeds, of which the t distribution is normal

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
        deviation: standard deviation of a single task's difference.
    """

    tasks: int
    difference: float
    ci95: float
    p_t: float
    p_permutation: float
    deviation: float

    def tasks_to_tell(self, comparisons: int = 1) -> int | None:
        """Return about how many tasks would tell, if the difference is what it seems; None if there is none.

        Args:
            comparisons: for which its p-value has to be corrected.
        """
        if self.difference == 0 or self.deviation == 0:
            return None
        return math.ceil((_deviations(comparisons) * self.deviation / self.difference) ** 2)


def paired(one: ArrayLike, other: ArrayLike) -> Paired:
    """Compare two runs by their figures (n,) on the same n tasks, n at least 2."""
    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    mean, half = mean_and_ci95(differences)
    if half is None:
        raise ValueError("one task has no spread")
    if not differences.any():
        return Paired(len(differences), 0.0, 0.0, 1.0, 1.0, 0.0)
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
        deviation=float(differences.std(ddof=1)),
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


def _deviations(comparisons: int) -> float:
    """How many deviations of the mean a difference must be from 0 to be told from it: 1.96 in one comparison."""
    return float(ndtri(1 - LEVEL / comparisons / 2))


@dataclass(frozen=True)
class OverSeeds:
    """What the same tasks say of two methods, each trained with several seeds.

    Args:
        seeds: of the one and of the other.
        tasks: how many.
        difference: mean over seeds and tasks of the one's figure minus the other's.
        ci95: half-width of its 95 % interval for other tasks and other trainings.
        ci95_tasks: the same for other tasks and these trainings.
        p: two-sided, of the difference for other tasks and other trainings.
        of_tasks: variance over tasks of the mean difference.
        of_one_seed: variance over seeds of the difference of two single trainings.
    """

    seeds: tuple[int, int]
    tasks: int
    difference: float
    ci95: float
    ci95_tasks: float
    p: float
    of_tasks: float
    of_one_seed: float

    def seeds_to_tell(self, comparisons: int = 1) -> int | None:
        """Return about how many seeds each would tell, if the difference is what it seems; None if no number would.

        Args:
            comparisons: for which its p-value has to be corrected.
        """
        room = (self.difference / _deviations(comparisons)) ** 2 - self.of_tasks  # that tasks leave
        if room <= 0:
            return None
        seeds = max(2, math.ceil(self.of_one_seed / room))
        while seeds < MANY and abs(self.difference) < self._half_width(seeds, comparisons):
            seeds += 1
        return seeds

    def _half_width(self, seeds: int, comparisons: int) -> float:
        """What the interval's would be with so many seeds each, that alone counting for the degrees of freedom."""
        t = float(stdtrit(2 * (seeds - 1), 1 - LEVEL / comparisons / 2))
        return t * math.sqrt(self.of_tasks + self.of_one_seed / seeds)


def over_seeds(one: ArrayLike, other: ArrayLike) -> OverSeeds:
    """Compare two methods by their figures (seeds, n) on the same n tasks; of each at least 2 seeds, n at least 2.

    The variance of the difference is taken to be the sum of three: over tasks, of the difference of the means over
    seeds; and over the seeds of each method, of its means over tasks. What tasks and seeds have in common is in all of
    them, so the interval is a little wide where seeds hardly differ. Degrees of freedom: Welch and Satterthwaite.
    """
    methods = [np.asarray(each, dtype=np.float64) for each in (one, other)]
    by_task = methods[0].mean(0) - methods[1].mean(0)
    mean, half = mean_and_ci95(by_task)
    seeds, tasks = (len(methods[0]), len(methods[1])), len(by_task)
    if half is None or min(seeds) < 2:
        raise ValueError("one task or one seed has no spread")
    of_tasks = float(by_task.var(ddof=1)) / tasks
    of_one_seed = [float(each.mean(1).var(ddof=1)) for each in methods]
    parts = [of_tasks, *(variance / count for variance, count in zip(of_one_seed, seeds, strict=True))]
    freedom = [tasks - 1, *(count - 1 for count in seeds)]
    variance = sum(parts)
    if variance == 0:
        return OverSeeds(seeds, tasks, mean, 0.0, 0.0, 0.0 if mean else 1.0, 0.0, 0.0)
    degrees = variance**2 / sum(part**2 / each for part, each in zip(parts, freedom, strict=True))
    error = math.sqrt(variance)
    ci95 = float(stdtrit(degrees, 1 - LEVEL / 2)) * error
    p = float(2 * stdtr(degrees, -abs(mean) / error))
    return OverSeeds(seeds, tasks, mean, ci95, half, p, of_tasks, sum(of_one_seed))


def comparisons_each(p_values: Sequence[float]) -> list[int]:
    """Return for how many comparisons Holm (1979) corrects each of several p-values: the smallest for all of them."""
    count = np.empty(len(p_values), dtype=np.int64)
    count[np.argsort(p_values)] = np.arange(len(p_values), 0, -1)
    return [int(each) for each in count]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for being several (Holm 1979): reject in order of size, each at its own level."""
    order = np.argsort(p_values)
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in corrected]


def verdict(gain: float, corrected: float) -> Verdict:
    """Say what a difference means, signed so that more is better, given its corrected p-value."""
    if corrected >= LEVEL:
        return "cannot tell"
    return "better" if gain > 0 else "worse"
