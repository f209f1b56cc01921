"""Average ranks of methods over several settings, with the critical difference of Nemenyi; pure functions of arrays."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
RESAMPLES = 2_000


@dataclass(frozen=True)
class Ranks:
    """M methods over N settings.

    Args:
        average: (M,) mean rank of each over the settings; 1 is the best, and ties share their mean rank.
        average_ci95: (M, 2) its percentile interval, by a bootstrap over settings.
        wins: (M,) win rate: the share of all comparisons with another method on a setting that it wins; a tie is half.
        wins_ci95: (M, 2) its interval, in the same way.
        critical: methods whose average ranks differ by more are different (Nemenyi test at 0.05; Demšar 2006).
        p: of the Friedman test that all methods are equal.
    """

    average: NDArray[np.float64]
    average_ci95: NDArray[np.float64]
    wins: NDArray[np.float64]
    wins_ci95: NDArray[np.float64]
    critical: float
    p: float


def rank_methods(scores: ArrayLike) -> Ranks:
    """Rank methods by their scores (N settings, M methods), higher is better; N and M are at least 2.

    The critical difference is q(0.05, M) sqrt(M (M + 1) / 6 N), with q of the studentised range over sqrt(2): Demšar,
    "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006. The intervals are the percentiles of a
    bootstrap over settings, which is too narrow for fewer than about ten of them.
    """
    from scipy import stats  # takes a second to import

    scores = np.asarray(scores, dtype=np.float64)
    settings, methods = scores.shape
    if settings < 2 or methods < 2:
        raise ValueError("ranks need at least 2 settings and 2 methods")
    ranks = stats.rankdata(-scores, axis=1)
    wins = (methods - ranks) / (methods - 1)  # a rank counts the methods that are better, and ties by half
    drawn = np.random.default_rng(0).integers(settings, size=(RESAMPLES, settings))
    quantile = float(stats.studentized_range.ppf(1 - LEVEL, methods, np.inf)) / math.sqrt(2)
    return Ranks(
        average=ranks.mean(0),
        average_ci95=np.quantile(ranks[drawn].mean(1), (0.025, 0.975), axis=0).T,
        wins=wins.mean(0),
        wins_ci95=np.quantile(wins[drawn].mean(1), (0.025, 0.975), axis=0).T,
        critical=quantile * math.sqrt(methods * (methods + 1) / (6 * settings)),
        p=_friedman(ranks),
    )


def _friedman(ranks: NDArray[np.float64]) -> float:
    """Return the p-value of the Friedman test, corrected for ties; scipy's needs three methods. 1 if all tie."""
    from scipy.special import chdtrc

    settings, methods = ranks.shape
    spread = float(((ranks - (methods + 1) / 2) ** 2).sum())
    if spread == 0:
        return 1.0
    between = settings**2 * float(((ranks.mean(0) - (methods + 1) / 2) ** 2).sum())
    return float(chdtrc(methods - 1, (methods - 1) * between / spread))
