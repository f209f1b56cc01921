"""Paired comparisons against scipy, by hand and by simulation."""

import numpy as np
import pytest
from scipy import stats

from metarun.reporting.significance import (
    LEVEL,
    SMALLEST,
    comparisons_each,
    holm,
    one_over_seeds,
    over_seeds,
    paired,
    roughly,
    verdict,
)
from metarun.results.metrics import ACCURACY, MSE


def test_a_known_pair():
    found = paired([0.8, 0.9, 1.0, 0.7], [0.7, 0.7, 0.9, 0.7])  # differences 0.1 0.2 0.1 0.0
    assert found.difference == pytest.approx(0.1)
    assert found.ci95 == pytest.approx(3.182446 * 0.0816497 / 2, rel=1e-5)
    assert found.p_permutation == pytest.approx(0.25), "4 of 16 sign patterns are as far from 0"
    assert found.tasks_to_tell() == 3  # (1.96 * 0.0816 / 0.1)^2 = 2.56
    assert found.tasks_to_tell(comparisons=10) == 6  # (2.81 * 0.0816 / 0.1)^2 = 5.25


def test_the_t_test_matches_scipy():
    random = np.random.default_rng(0)
    one, other = random.normal(0.9, 0.1, (2, 500))
    found = paired(one, other)
    expected = stats.ttest_rel(one, other)
    assert found.p_t == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.difference - found.ci95, found.difference + found.ci95) == pytest.approx(tuple(interval))
    assert found.p_permutation == pytest.approx(expected.pvalue, abs=0.02)


def test_equal_runs_do_not_differ():
    found = paired([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (found.difference, found.p_t, found.p_permutation, found.tasks_to_tell()) == (0.0, 1.0, 1.0, None)
    assert verdict(found.difference, 1.0) == "cannot tell"


def test_the_same_runs_give_the_same_p_value_twice():
    one, other = np.random.default_rng(0).normal(0.9, 0.1, (2, 100))
    assert paired(one, other) == paired(one, other)


def test_an_obvious_difference_is_significant_among_a_thousand_comparisons():
    random = np.random.default_rng(0)
    found = [paired(random.normal(0.9, 0.01, 50), random.normal(0.3, 0.01, 50)) for _ in range(2)]
    found += [found[0]] * 998
    assert found[0].p_permutation == SMALLEST
    assert max(holm([each.p for each in found])) < 1e-20


def test_a_permutation_test_of_all_signs_is_not_replaced():
    found = paired(np.arange(1.0, 6.0), np.zeros(5))
    assert found.p == found.p_permutation == pytest.approx(2 / 32)


def test_pairing_finds_a_difference_despite_overlapping_intervals():
    # Tasks differ far more than the methods: each is 0.8 ± 0.02, but one is better on nearly every task.
    random = np.random.default_rng(0)
    hard = random.normal(0.8, 0.15, 200)
    one, other = hard + 0.01 + random.normal(0, 0.02, 200), hard + random.normal(0, 0.02, 200)
    alone = [stats.sem(run) * 1.97 for run in (one, other)]
    assert one.mean() - alone[0] < other.mean() + alone[1]
    assert paired(one, other).p_permutation < 0.001


def test_holm_by_hand():
    assert comparisons_each([0.01, 0.04, 0.03]) == [3, 1, 2]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == pytest.approx([0.04])


@pytest.mark.parametrize(
    ("difference", "corrected", "metric", "expected"),
    [
        (0.01, 0.01, ACCURACY, "better"),
        (-0.01, 0.01, ACCURACY, "worse"),
        (-0.01, 0.01, MSE, "better"),
        (0.01, 0.01, MSE, "worse"),
        (0.01, 0.05, ACCURACY, "cannot tell"),
    ],
)
def test_verdicts(difference, corrected, metric, expected):
    assert verdict(metric.score(difference), corrected) == expected


def test_without_a_difference_one_in_twenty_is_significant():
    random, called = np.random.default_rng(2), 0
    for _ in range(2000):
        one, other = random.binomial(75, 0.9, (2, 60)) / 75
        called += stats.ttest_rel(one, other).pvalue < 0.05
    assert 0.03 <= called / 2000 <= 0.07


@pytest.mark.slow
def test_the_interval_of_a_difference_covers_the_truth_about_95_times_in_100(monkeypatch):
    monkeypatch.setattr("metarun.reporting.significance.RESAMPLES", 9)  # the permutation test is not used here
    random, covered = np.random.default_rng(3), 0
    for _ in range(2000):
        hard = random.normal(0.7, 0.1, 60)
        found = paired(hard + random.normal(0.02, 0.05, 60), hard + random.normal(0, 0.05, 60))
        covered += abs(found.difference - 0.02) <= found.ci95
    assert 0.93 <= covered / 2000 <= 0.97


def test_over_seeds_equals_welchs_test_without_variance_over_tasks():
    random = np.random.default_rng(0)
    one, other = random.normal(0.9, 0.02, (5, 1)), random.normal(0.85, 0.01, (3, 1))
    found = over_seeds(one + np.zeros(4), other + np.zeros(4))
    expected = stats.ttest_ind(one[:, 0], other[:, 0], equal_var=False)
    assert (found.seeds, found.tasks, found.ci95_tasks) == ((5, 3), 4, 0.0)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.difference - found.ci95, found.difference + found.ci95) == pytest.approx(tuple(interval))


def test_over_seeds_equals_the_paired_test_without_variance_over_seeds():
    one, other = np.random.default_rng(0).normal(0.9, 0.1, (2, 100))
    found, alone = over_seeds([one, one, one], [other, other]), paired(one, other)
    assert (found.difference, found.ci95_tasks) == pytest.approx((alone.difference, alone.ci95))
    assert found.p == pytest.approx(alone.p_t, rel=0.02)  # degrees of freedom differ slightly


def test_the_number_of_seeds_for_a_significant_result():
    tasks, seeds = np.array([-0.01, 0.01] * 50), np.array([[-0.02], [0.0], [0.02]])
    found = over_seeds(0.52 + seeds + tasks, 0.5 + seeds + 0 * tasks)
    # One seed: 2 * 0.02^2; 100 tasks: 0.01^2 * 100 / 99 / 100; t(0.975, 16) = 2.120, t(0.975, 18) = 2.101.
    assert 2.120 * (0.0008 / 9 + 0.01**2 / 99) ** 0.5 > 0.02 > 2.101 * (0.0008 / 10 + 0.01**2 / 99) ** 0.5
    assert (found.seeds_to_tell(), round(found.difference, 9)) == (10, 0.02)
    assert over_seeds(0.501 + seeds + tasks, 0.5 + seeds + 0 * tasks).seeds_to_tell() is None, (
        "too much variance over tasks"
    )


def test_the_interval_over_seeds_covers_new_trainings_and_tasks_and_the_interval_over_tasks_does_not():
    random, covered, by_tasks = np.random.default_rng(4), 0, 0
    for _ in range(2000):
        hard = random.normal(0.7, 0.1, 200)
        one, other = (hard + random.normal(0, 0.05, 200) + random.normal(0, 0.01, (5, 1)) for _ in range(2))
        found = over_seeds(one + 0.02 + random.normal(0, 0.03, (5, 200)), other + random.normal(0, 0.03, (5, 200)))
        covered += abs(found.difference - 0.02) <= found.ci95
        by_tasks += abs(found.difference - 0.02) <= found.ci95_tasks
    assert 0.93 <= covered / 2000 <= 0.97
    assert by_tasks / 2000 < 0.85


def test_an_adjusted_interval_excludes_zero_exactly_where_the_adjusted_p_is_below_the_level():
    random = np.random.default_rng(3)
    for _ in range(50):
        one, other = random.normal(0.01, 0.05, 60), random.normal(0, 0.05, 60)
        found = paired(one, other)
        for comparisons in (1, 2, 7):
            significant = min(1, comparisons * found.p_t) < LEVEL
            assert (abs(found.difference) > found.half_width(comparisons)) == significant
        assert found.half_width(1) == pytest.approx(found.ci95)
    seeds = over_seeds(random.normal(0.3, 0.1, (3, 50)), random.normal(0, 0.1, (4, 50)))
    assert seeds.half_width(1) == pytest.approx(seeds.ci95)
    assert seeds.half_width(5) > seeds.ci95


@pytest.mark.parametrize(("count", "rounded"), [(1, 1), (3, 5), (10, 10), (61, 100), (201, 500), (5001, 10_000)])
def test_an_estimated_number_of_tasks_is_rounded_up(count, rounded):
    assert roughly(count) == rounded


def test_the_intervals_of_one_method_are_those_of_scipy():
    values = np.random.default_rng(0).normal(0.5, 0.1, (4, 50))
    tasks, trainings = one_over_seeds(values)
    low, high = stats.t.interval(0.95, 49, *(values.mean(0).mean(), stats.sem(values.mean(0))))
    assert tasks == pytest.approx((high - low) / 2)
    assert trainings > tasks
    alike = np.tile(np.array([0.4, 0.5, 0.6])[:, None], 5)  # tasks do not vary, so only seeds do
    low, high = stats.t.interval(0.95, 2, 0.5, stats.sem(alike.mean(1)))
    assert one_over_seeds(alike) == (0.0, pytest.approx((high - low) / 2))
    assert one_over_seeds(values[:1])[1] is None
    assert one_over_seeds(values[:, :1]) == (None, None)


def test_the_wider_interval_of_one_method_covers_new_trainings_and_the_narrow_one_does_not():
    random = np.random.default_rng(3)
    covered = []
    for _ in range(500):
        values = 0.5 + random.normal(0, 0.02, (5, 1)) + random.normal(0, 0.1, 100) + random.normal(0, 0.05, (5, 100))
        covered.append([abs(values.mean() - 0.5) <= half for half in one_over_seeds(values)])
    tasks, trainings = np.mean(covered, axis=0)
    assert tasks < 0.9
    assert 0.92 < trainings < 0.98
