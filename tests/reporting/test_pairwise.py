"""Comparisons of all pairs of configurations, against scipy, and the sentence above a report."""

import numpy as np
import pytest
from scipy import stats

from metarun.reporting.configurations import (
    Configuration,
    configurations,
    in_every_setting,
    on_the_front,
    pareto_front,
)
from metarun.reporting.pairwise import compare_all, headline
from metarun.reporting.significance import holm, over_seeds
from metarun.results.records import read_records
from tests.reporting.test_report import write_run

TASKS = 40


def write(name: str, algo: str, mean: float, seed: int = 0, shot: int = 1, **changes) -> np.ndarray:
    """Write a run with values around a mean on the same tasks; return the values."""
    tasks = np.random.default_rng(shot).normal(0, 0.05, TASKS)
    values = np.clip(mean + tasks + np.random.default_rng(int(name)).normal(0, 0.03, TASKS), 0, 1)
    write_run(
        name,
        values[None],
        **{"algo": algo, "seed": seed, "test_shot": shot, "seedless_id": f"{algo}{shot}"},
        **{"transductive": False, "accuracy": float(values.mean()), **changes},
    )
    return values


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Return a function that reads the configurations of what was written."""
    monkeypatch.chdir(tmp_path)
    return lambda: configurations(read_records([tmp_path])[0])


def test_pairs_of_single_runs_are_paired_t_tests_with_holms_correction(found):
    values = [write(str(i), algo, mean) for i, (algo, mean) in enumerate((("a", 0.7), ("b", 0.68), ("c", 0.5)), 1)]
    ((setting),) = found()
    pairs = compare_all(setting)
    p_values = [stats.ttest_rel(values[i], values[j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [pairs[0, 1].p, pairs[0, 2].p, pairs[1, 2].p] == pytest.approx(holm(p_values))
    interval = stats.ttest_rel(values[0], values[1]).confidence_interval(0.95)  # the largest p is not corrected
    assert pairs[0, 1].half == pytest.approx((interval.high - interval.low) / 2)
    assert (pairs[0, 2].outcome, pairs[2, 0].outcome) == ("win", "loss")
    assert pairs[2, 0].difference == -pairs[0, 2].difference


def test_pairs_over_seeds_are_compared_over_seeds(found):
    one, other = (
        [write(f"{i}{seed}", algo, 0.8 - i / 10, seed) for seed in range(3)] for i, algo in ((1, "a"), (2, "b"))
    )
    (setting,) = found()
    pair = compare_all(setting)[0, 1]
    expected = over_seeds(one, other)
    assert (pair.difference, pair.half, pair.p) == pytest.approx((expected.difference, expected.ci95, expected.p))
    sentence = headline(setting, {(0, 1): pair})
    assert sentence.startswith(f"glyphs, 5-way 1-shot: a beats b by {100 * expected.difference:.2f} ± ")
    assert "over 3 seeds each)" in sentence


def test_the_headline_says_what_is_not_alike(found):
    write("1", "a", 0.7, iterations=60, transductive=True, parameters=1_000)
    write("2", "b", 0.5, iterations=20, parameters=2_000)
    (setting,) = found()
    sentence = headline(setting, compare_all(setting))
    assert (
        "(p < 0.001, for these trainings only); not like for like: a is transductive; 60 against 20 outer" in sentence
    )
    assert sentence.endswith("1,000 against 2,000 parameters.")


def test_what_cannot_be_told_apart_or_tested_is_said(found):
    write("1", "a", 0.6, accuracy=0.61)
    write("2", "b", 0.6, accuracy=0.6)
    (setting,) = found()
    assert "a and b cannot be told apart; the difference is " in headline(setting, compare_all(setting))
    assert "a is ahead of b by 1.00 points, untested" in headline(setting, {})
    assert headline(setting[:1], {}) is None


def test_a_mean_over_the_tasks_that_did_not_diverge_is_in_no_comparison(found):
    for i, shot in enumerate((1, 5)):
        write(f"{i}1", "maml", 0.5, shot=shot, mse=0.5, parameters=2)
        write(f"{i}2", "anil", 0.5, shot=shot, mse=0.3, diverged=4, parameters=1)
    setting, _ = found()
    sentence = headline(setting, compare_all(setting))
    assert "maml and anil are not compared, because anil diverged on some tasks" in sentence
    assert in_every_setting(found())[0] == ["maml"]
    places = [[each.name for each in setting].index(name) for name in ("maml", "anil")]
    assert on_the_front([(each, each.cost("parameters")) for each in setting]) == places[:1]


def test_a_lead_in_returns_is_not_called_an_error(found):
    for name, algo, mean in (("1", "maml_rl", -7.0), ("2", "multitask", -14.3)):
        write(name, algo, 0.5, **{"return": mean})
    (setting,) = found()
    assert "maml_rl is ahead of multitask by 7.30 in return" in headline(setting, {})


def test_scores_are_those_of_methods_tested_in_every_setting(found):
    for i, (algo, shot) in enumerate((("a", 1), ("a", 5), ("b", 1), ("b", 5), ("c", 1)), 1):
        write(str(i), algo, 0.5 + i / 20, shot=shot)
    names, scores = in_every_setting(found())
    assert names == ["b", "a"]
    assert scores.shape == (2, 2)
    assert (scores[:, 0] > scores[:, 1]).all()


def test_the_front_is_what_nothing_dominates():
    assert pareto_front([(3, 0.9), (1, 0.5), (2, 0.4), (2, 0.7), (4, 0.9)]) == [1, 3, 0]
    assert pareto_front([(1, 0.5), (1, 0.5)]) == [0, 1]


def test_settings_in_which_configurations_differ_are_in_their_names():
    """Rows of older versions have no configs, so the id tells two equal rows apart."""
    from tests.cli.test_compare import record

    rows = [record(id=f"0000000{i}", path="nowhere") for i in range(2)]
    (setting,) = configurations(rows)
    assert [each.name for each in setting] == ["maml, 00000000", "maml, 00000001"]
    assert isinstance(setting[0], Configuration)
