"""Paired tests of whether one run, or one method, is better than another on the same tasks; pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from metarun.results.statistics import mean_and_ci95

RESAMPLES = 9_999
SMALLEST = 2 / (RESAMPLES + 1)  # two-sided p-value of a permutation test in which no resample is as far from 0
LEVEL = 0.05
MANY = 1_000  # seeds; for more, the t distribution is practically normal

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True)
class Paired:
    """The comparison of two runs on the same tasks.

    Args:
        tasks: number of tasks.
        difference: mean over the tasks of the first run's value minus the second's.
        ci95: half-width of its 95 % interval, by Student's t over the paired differences.
        p_t: of the two-sided paired t-test.
        p_permutation: of the two-sided sign-flip permutation test: how often the mean difference is as far from 0 when
            the sign of each task's difference is random.
        deviation: standard deviation of a single task's difference.
    """

    tasks: int
    difference: float
    ci95: float
    p_t: float
    p_permutation: float
    deviation: float

    @property
    def p(self) -> float:
        """The p-value of the verdict: of the permutation test, and of the t-test where the former is too coarse.

        If no resample is as far from 0 as the data, the permutation test only says that p is below about `SMALLEST`,
        which is not small enough for 250 comparisons.
        """
        return self.p_permutation if self.p_permutation > SMALLEST else min(self.p_permutation, self.p_t)

    def half_width(self, comparisons: int) -> float:
        """Return the half-width of the interval at the level 1 - 0.05 / `comparisons`."""
        t = float(stdtrit(self.tasks - 1, 1 - LEVEL / comparisons / 2))
        return t * self.deviation / math.sqrt(self.tasks)

    def tasks_to_tell(self, comparisons: int = 1) -> int | None:
        """Estimate the tasks for a result that is significant among `comparisons`; None without a difference."""
        if self.difference == 0 or self.deviation == 0:
            return None
        return math.ceil((_deviations(comparisons) * self.deviation / self.difference) ** 2)


def paired(one: ArrayLike, other: ArrayLike) -> Paired:
    """Compare two runs by their values (n,) on the same n tasks, n at least 2."""
    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    mean, half = mean_and_ci95(differences)
    if half is None:
        raise ValueError("a paired test needs at least 2 tasks")
    if not differences.any():
        return Paired(len(differences), 0.0, 0.0, 1.0, 1.0, 0.0)
    from scipy import stats  # takes a second to import

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

    1 for a single task. scipy.stats has this test too, but takes a second to import and warns if all are equal.
    """
    if len(differences) < 2:
        return 1.0
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0:
        return 0.0 if mean else 1.0
    t = mean / (deviation / math.sqrt(len(differences)))
    return float(2 * stdtr(len(differences) - 1, -abs(t)))


def _deviations(comparisons: int) -> float:
    """How many standard errors from 0 a difference must be to be significant: 1.96 for one comparison."""
    return float(ndtri(1 - LEVEL / comparisons / 2))


@dataclass(frozen=True)
class OverSeeds:
    """The comparison of two methods on the same tasks, each trained with several seeds.

    Args:
        seeds: number of seeds of each method.
        tasks: number of tasks.
        difference: mean over seeds and tasks of the first method's value minus the second's.
        ci95: half-width of its 95 % interval for new tasks and new trainings.
        ci95_tasks: the same for new tasks and these trainings.
        p: two-sided, for new tasks and new trainings.
        of_tasks: variance of the mean difference over tasks.
        of_one_seed: variance over seeds of the difference of two single trainings.
        error: standard error of the difference, for new tasks and new trainings.
        degrees: of freedom of that error.
    """

    seeds: tuple[int, int]
    tasks: int
    difference: float
    ci95: float
    ci95_tasks: float
    p: float
    of_tasks: float
    of_one_seed: float
    error: float
    degrees: float

    def half_width(self, comparisons: int) -> float:
        """Return the half-width of the interval at the level 1 - 0.05 / `comparisons`."""
        return float(stdtrit(self.degrees, 1 - LEVEL / comparisons / 2)) * self.error

    def seeds_to_tell(self, comparisons: int = 1) -> int | None:
        """Estimate the seeds per method for a result that is significant among `comparisons`; None: none suffice."""
        room = (self.difference / _deviations(comparisons)) ** 2 - self.of_tasks  # variance left for the seeds
        if room <= 0:
            return None
        seeds = max(2, math.ceil(self.of_one_seed / room))
        while seeds < MANY and abs(self.difference) < self._half_width(seeds, comparisons):
            seeds += 1
        return seeds

    def _half_width(self, seeds: int, comparisons: int) -> float:
        """Half-width of the interval with `seeds` per method, with the degrees of freedom of the seeds only."""
        t = float(stdtrit(2 * (seeds - 1), 1 - LEVEL / comparisons / 2))
        return t * math.sqrt(self.of_tasks + self.of_one_seed / seeds)


def over_seeds(one: ArrayLike, other: ArrayLike) -> OverSeeds:
    """Compare two methods by their values (seeds, n) on the same n tasks, with at least 2 seeds each and n at least 2.

    The variance of the difference is the sum of three variances: over tasks, of the difference of the means over
    seeds; and over the seeds of each method, of its means over tasks. The interaction of tasks and seeds is in all
    three, so the interval is slightly too wide if seeds hardly differ. Degrees of freedom: Welch and Satterthwaite.
    """
    methods = [np.asarray(each, dtype=np.float64) for each in (one, other)]
    by_task = methods[0].mean(0) - methods[1].mean(0)
    mean, half = mean_and_ci95(by_task)
    seeds, tasks = (len(methods[0]), len(methods[1])), len(by_task)
    if half is None or min(seeds) < 2:
        raise ValueError("a comparison over seeds needs at least 2 tasks and 2 seeds per method")
    of_tasks = float(by_task.var(ddof=1)) / tasks
    of_one_seed = [float(each.mean(1).var(ddof=1)) for each in methods]
    parts = [of_tasks, *(variance / count for variance, count in zip(of_one_seed, seeds, strict=True))]
    freedom = [tasks - 1, *(count - 1 for count in seeds)]
    variance = sum(parts)
    if variance == 0:
        return OverSeeds(seeds, tasks, mean, 0.0, 0.0, 0.0 if mean else 1.0, 0.0, 0.0, 0.0, tasks - 1)
    degrees = variance**2 / sum(part**2 / each for part, each in zip(parts, freedom, strict=True))
    error = math.sqrt(variance)
    ci95 = float(stdtrit(degrees, 1 - LEVEL / 2)) * error
    p = float(2 * stdtr(degrees, -abs(mean) / error))
    return OverSeeds(seeds, tasks, mean, ci95, half, p, of_tasks, sum(of_one_seed), error, degrees)


def one_over_seeds(values: ArrayLike) -> tuple[float | None, float | None]:
    """Return the half-widths of two 95 % intervals for the mean of one method's values (seeds, n) on n tasks.

    The first is for new tasks and these trainings: Student's t over tasks, whose values are means over seeds. The
    second is for new tasks and new trainings, as in `over_seeds`: the variances over tasks and over seeds add up.

    Returns:
        The first is None for a single task, the second also for a single seed.
    """
    values = np.asarray(values, dtype=np.float64)
    seeds, tasks = values.shape
    _, half = mean_and_ci95(values.mean(0))
    if half is None or seeds < 2:
        return half, None
    parts = float(values.mean(0).var(ddof=1)) / tasks, float(values.mean(1).var(ddof=1)) / seeds
    if not sum(parts):
        return half, 0.0
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (tasks - 1) + parts[1] ** 2 / (seeds - 1))
    return half, float(stdtrit(degrees, 1 - LEVEL / 2)) * math.sqrt(sum(parts))


def roughly(count: int) -> int:
    """Round an estimated number up to 1, 2 or 5 times a power of ten."""
    power: int = 10 ** (len(str(count)) - 1)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= count)


def comparisons_each(p_values: Sequence[float]) -> list[int]:
    """Return the factor of Holm (1979) for each p-value: their number for the smallest, 1 for the largest."""
    count = np.empty(len(p_values), dtype=np.int64)
    count[np.argsort(p_values)] = np.arange(len(p_values), 0, -1)
    return [int(each) for each in count]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple comparisons (Holm 1979)."""
    order = np.argsort(p_values)
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in corrected]


def verdict(gain: float, corrected: float) -> Verdict:
    """Return the verdict on a gain (positive is better), given its corrected p-value."""
    if corrected >= LEVEL:
        return "cannot tell"
    return "better" if gain > 0 else "worse"
