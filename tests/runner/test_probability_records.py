"""NLL, Brier score and calibration error of a record: by hand, against scikit-learn and torch, and by simulation."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss

from metarun.evaluation.evaluate import evaluate_predictions
from metarun.results.statistics import calibration, calibration_error, mean_and_ci95
from metarun.runner.probability_records import describe_probabilities
from metarun.tasks.losses import brier_score, calibration_gaps, confidence, correct
from tests.tasks.test_imbalance import stream

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.5, 0.0]])
LABELS = torch.tensor([0, 1, 1, 0])


def test_the_brier_score_is_that_of_scikit_learn():
    expected = brier_score_loss(LABELS.numpy(), LOGITS.softmax(-1)[:, 1].numpy())  # of two classes: half
    assert float(brier_score(LOGITS, LABELS).mean()) == pytest.approx(2 * expected, rel=1e-5)
    uniform = brier_score(torch.zeros(1, 5), torch.tensor([3]))
    assert float(uniform) == pytest.approx(0.8**2 + 4 * 0.2**2)


def test_the_calibration_error_is_that_over_all_queries():
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(30, 25, 5, generator=random)
    labels = torch.randint(5, (30, 25), generator=random)
    sure, right = confidence(logits), correct(logits, labels)
    error, half = calibration_error(calibration_gaps(sure, right))
    assert error == pytest.approx(calibration(sure.flatten(), right.flatten().double()).error)
    assert half > 0
    assert calibration_error(np.array([[0.1, -0.2]])) == (pytest.approx(0.3), None)


def test_the_interval_of_the_calibration_error_covers_an_overconfident_method():
    """Its confidence is 0.9 or 0.6 and it is right in 0.7 or 0.5 of the queries, more often in some tasks."""
    random = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        easy = random.normal(0, 0.1, (100, 1))
        sure = random.random((100, 50)) < 0.5
        right = random.random((100, 50)) < np.where(sure, 0.7, 0.5) + easy
        gaps = calibration_gaps(torch.tensor(np.where(sure, 0.9, 0.6)), torch.tensor(right))
        error, half = calibration_error(gaps)
        covered.append(abs(error - (0.5 * 0.2 + 0.5 * 0.1)) <= half)
    assert 0.92 < np.mean(covered) < 0.98


def test_a_record_has_the_means_over_tasks_that_did_not_diverge():
    tasks = stream(imbalance=None)
    batch = tasks.draw(0, 20)
    logits = torch.randn(2, 20, *batch.query_y.shape[1:], batch.way, generator=torch.Generator().manual_seed(1))
    logits[1, 3] = torch.nan

    def predict(drawn):
        first = next(i for i in range(20) if torch.equal(batch.query_x[i], drawn.query_x[0]))
        return logits[:, first : first + len(drawn)]

    found = describe_probabilities(evaluate_predictions(predict, tasks, 20))
    kept = [i for i in range(20) if i != 3]
    last, labels = logits[1, kept], batch.query_y[kept]
    expected = log_loss(labels.flatten(), last.double().flatten(0, 1).softmax(-1), labels=range(batch.way))
    assert found["nll"] == pytest.approx(expected, rel=1e-5)
    assert (found["brier"], found["brier_ci95"]) == pytest.approx(
        mean_and_ci95(brier_score(last, labels).mean(-1).numpy()), rel=1e-5
    )
    assert found["ece"] == pytest.approx(
        calibration(confidence(last).flatten(), correct(last, labels).flatten().double()).error, rel=1e-5
    )
    assert describe_probabilities(evaluate_predictions(lambda drawn: predict(drawn) * torch.nan, tasks, 20)) == {}
