"""Average ranks: against scipy, and how often equal methods are called different."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from metarun.reporting.ranks import rank_methods


def test_known_ranks():
    found = rank_methods([[0.9, 0.8, 0.7], [0.9, 0.9, 0.1], [0.5, 0.6, 0.4], [0.9, 0.2, 0.3]])
    np.testing.assert_allclose(found.average, [(1 + 1.5 + 2 + 1) / 4, (2 + 1.5 + 1 + 3) / 4, (3 + 3 + 3 + 2) / 4])
    np.testing.assert_allclose(found.wins, [(1 + 0.75 + 0.5 + 1) / 4, (0.5 + 0.75 + 1 + 0) / 4, 0.5 / 4])


def test_the_critical_difference_is_that_of_demsar():
    """His table 5 has q = 2.343 for three methods and 2.569 for four; his example is four methods on 14 data sets."""
    scores = np.random.default_rng(0).random((14, 4))
    assert rank_methods(scores).critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert rank_methods(scores[:, :3]).critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 14)), abs=1e-3)


@given(arrays(np.int64, st.tuples(st.integers(2, 12), st.integers(3, 6)), elements=st.integers(0, 4)))
def test_the_friedman_test_is_that_of_scipy(scores):
    if (scores == scores[:, :1]).all():
        assert rank_methods(scores).p == 1
    else:
        assert rank_methods(scores).p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)


def test_two_equal_methods_tie():
    found = rank_methods(np.ones((3, 2)))
    assert (found.average.tolist(), found.wins.tolist(), found.p) == ([1.5, 1.5], [0.5, 0.5], 1.0)


@pytest.mark.slow
def test_equal_methods_are_rarely_called_different():
    random = np.random.default_rng(1)
    scores = random.random((4_000, 10, 4))
    ranks = stats.rankdata(-scores, axis=2).mean(1)
    critical = rank_methods(scores[0]).critical
    assert 0.02 < np.mean(np.ptp(ranks, axis=1) > critical) < 0.06


@pytest.mark.slow
def test_bootstrap_intervals_of_ranks_cover_the_truth_with_twenty_settings():
    """One method is better in 80 % of the settings, so its rank is 1.2 and its win rate 0.8."""
    random = np.random.default_rng(2)
    covered = []
    for _ in range(300):
        better = random.random((20, 1)) < 0.8
        low, high = rank_methods(np.hstack([better, ~better])).average_ci95[0]
        covered.append(low <= 1.2 <= high)
    assert 0.88 < np.mean(covered) < 0.99
