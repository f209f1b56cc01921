"""The figures of each data set."""

import pytest
import torch

from metarun.data import MixedDatasets
from metarun.evaluation.evaluate import Evaluation
from metarun.results.metrics import ACCURACY
from metarun.results.statistics import mean_and_ci95
from metarun.runner.set_records import describe_sets
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source
from tests.support.synthetic import make_dataset, make_stream

A, B = make_dataset(sizes=(4,) * 4), make_dataset(sizes=(4,) * 3, seed=1)


def evaluation(*accuracies):
    values = torch.tensor([accuracies], dtype=torch.float64)
    return Evaluation({"accuracy": values, "loss": 1 - values, "confidence": values}, ACCURACY)


def test_each_data_set_has_its_figures_and_the_mean_an_interval_of_its_own():
    mixed = task_source(MixedDatasets({"a": A, "b": B}, {"a": 1, "b": 1}))
    stream = mixed.stream("test", TaskShape(2, 1, 1), 0, torch.device("cpu"), torch.float32)
    found, floor = evaluation(0.9, 0.1, 0.8, 0.3, 0.7, 0.5), evaluation(0.5, 0.0, 0.5, 0.1, 0.5, 0.2)
    record = describe_sets(found, floor, stream, 6)
    a, b = record["sets"]["a"], record["sets"]["b"]
    assert (a["accuracy"], a["floor_accuracy"], a["chance"], a["test_tasks"]) == (pytest.approx(0.8), 0.5, 0.5, 3)
    assert (b["accuracy"], b["floor_accuracy"]) == (pytest.approx(0.3), pytest.approx(0.1))
    halves = [mean_and_ci95([0.9, 0.8, 0.7])[1], mean_and_ci95([0.1, 0.3, 0.5])[1]]
    assert [a["accuracy_ci95"], b["accuracy_ci95"]] == pytest.approx(halves)
    assert record["accuracy_ci95"] == pytest.approx((halves[0] ** 2 + halves[1] ** 2) ** 0.5 / 2)
    assert (a["data_hash"], b["data_hash"]) == (A.hash, B.hash)
    assert a["stream_hash"] == stream.streams["a"].hash(3)


def test_one_data_set_has_no_such_figures():
    assert describe_sets(evaluation(1.0), evaluation(0.5), make_stream(), 1) == {}
