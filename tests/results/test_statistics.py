import numpy as np
import pytest
from scipy import stats

from metarun.results.statistics import calibration, mean_and_ci95


def test_the_interval_of_a_known_sample():
    mean, half = mean_and_ci95([0.0, 1.0, 2.0, 3.0])
    assert mean == 1.5
    assert half == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-6)  # t(0.975, 3) s / sqrt(4)


def test_the_interval_equals_scipys():
    values = np.random.default_rng(0).normal(0.7, 0.1, 600)
    mean, half = mean_and_ci95(values)
    low, high = stats.t.interval(0.95, 599, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_the_interval_covers_the_true_mean_in_about_95_percent():
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        mean, half = mean_and_ci95(random.binomial(75, 0.9, 50) / 75)
        covered += abs(mean - 0.9) <= half
    assert 0.93 <= covered / 2000 <= 0.97


def test_one_task_gives_no_interval():
    assert mean_and_ci95([0.4]) == (0.4, None)


def test_calibration_of_known_values():
    found = calibration([0.05, 0.15, 0.95, 1.0], [0.0, 0.2, 0.7, 0.8], bins=10)
    assert found.count.tolist() == [1, 1, 2]
    assert found.confidence == pytest.approx([0.05, 0.15, 0.975])
    assert found.accuracy == pytest.approx([0.0, 0.2, 0.75])
    assert found.error == pytest.approx((0.05 + 0.05 + 2 * 0.225) / 4)
