"""The classes that are hard, by hand."""

import torch

from metarun.evaluation.evaluate import Evaluation
from metarun.results.metrics import ACCURACY
from metarun.runner.class_records import describe_classes

VALUES = {"loss": torch.ones(1, 2), "accuracy": torch.ones(1, 2)}
TRUE = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 2]])


def test_the_worst_classes_and_the_pairs_most_often_mixed_up():
    predicted = torch.tensor([[1, 1, 1, 0], [0, 0, -1, 2]])
    found = describe_classes(Evaluation(VALUES, ACCURACY, {"true": TRUE, "predicted": predicted}), ["a", "b", "c"])
    assert found["classes"] == [["a", 0.5, 4], ["b", 0.5, 2], ["c", 0.5, 2]]
    assert found["mixed_up"] == [["a", "b", 1.0], ["b", "a", 0.5]]  # of the queries of a in tasks with b


def test_nothing_is_said_without_the_names_of_all_classes():
    found = Evaluation(VALUES, ACCURACY, {"true": TRUE, "predicted": TRUE})
    assert describe_classes(found, ["a", "b", "c"])["mixed_up"] == []
    assert describe_classes(found, ["a"]) == describe_classes(Evaluation(VALUES, ACCURACY), ["a"]) == {}
