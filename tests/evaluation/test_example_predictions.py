"""What is shown of tasks of texts, sounds, rows of a table and entities."""

import numpy as np
import pandas as pd
import pytest
import torch

from metarun.algorithms import MAML, NearestCentroid
from metarun.backbones import MLP, Conv4
from metarun.data import Audio, RegressionTable, Table, Text
from metarun.evaluation.example_predictions import predict_examples
from metarun.tasks.batch import TaskShape
from metarun.tasks.source import task_source
from tests.support.fake_sounds import write_tones
from tests.support.fake_texts import write_texts

SHAPE = TaskShape(2, 1, 1)


def shown(data, shape=SHAPE, algorithm=None):
    """The first task of meta-test, as of the data and as of their cache."""
    found = []
    for _ in range(2):
        source = task_source(data.load())
        stream = source.stream("test", shape, 0, torch.device("cpu"), torch.float32)
        found.append(
            predict_examples(algorithm or NearestCentroid(Conv4((1, 28, 28))), stream, 1, [0], display=source.display)[
                0
            ]
        )
    for name, array in vars(found[0]).items():
        np.testing.assert_array_equal(array, getattr(found[1], name))
    return found[0]


@pytest.mark.parametrize("features", ["tfidf", "tokens"])
def test_texts_are_shown_themselves(tmp_path, features):
    write_texts(tmp_path / "texts.csv", 10, 3)
    task = shown(Text(str(tmp_path / "texts.csv"), features=features, size=64))
    assert task.support_x.shape == task.query_x.shape == (2, 1)
    for support, query in zip(task.support_x[:, 0], task.query_x[:, 0], strict=True):
        (word, take), (same, other) = support.split(" ", 1), query.split(" ", 1)
        assert (word, take == other) == (same, False)
    assert task.names.tolist() == []


def test_a_spectrogram_has_its_low_frequencies_below(tmp_path):
    write_tones(tmp_path / "tones", "abcdef", 2)
    task = shown(Audio(str(tmp_path / "tones"), rate=8_000, seconds=0.2, mels=20, fft=256, hop=100))
    assert task.support_x.shape == (2, 1, 20, 16)
    loudest = task.support_x[:, 0].mean(-1).argmax(-1)
    assert (loudest > 10).all(), "tones of 300 to 800 Hz are in the lower half of the picture"
    assert task.names.tolist() == ["time", "frequency"]


def test_rows_are_shown_by_their_columns_as_in_the_table(tmp_path):
    frame = pd.DataFrame({"kind": [f"k{i // 3}" for i in range(24)], "size": np.arange(24) * 10.5})
    frame["colour"] = frame["kind"].map(lambda kind: f"colour of {kind}")
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = shown(Table(str(tmp_path / "t.csv"), "kind"))
    assert task.names.tolist() == ["size", "colour"]
    assert set(task.support_x[:, 0]) < {f"{10.5 * i:.5g}" for i in range(24)}
    assert set(task.support_x[:, 1]) == {"–"}, "meta-train has other colours"


@pytest.mark.parametrize(("order", "axis"), [(None, "dose"), ("day", "day")])
def test_entities_are_drawn_along_the_time_or_a_column_that_varies_in_their_units(tmp_path, order, axis):
    rows = pd.DataFrame({"who": np.repeat(np.arange(10), 8), "age": np.repeat(np.arange(30, 40), 8)})
    rows["dose"], rows["day"] = np.tile(np.arange(8) * 2.0, 10), np.tile(np.arange(8) * 7.0, 10)
    rows["fever"] = rows["age"] + rows["dose"]
    rows["pulse"] = rows["fever"] * 2
    rows.to_csv(tmp_path / "t.csv", index=False)
    data = RegressionTable(str(tmp_path / "t.csv"), "who", ["fever", "pulse"], order=order)
    task = shown(data, TaskShape(1, 3, 4), MAML(MLP((3,), (8,)), 2, 0.1, 1))
    assert task.names.tolist() == [axis, "fever", "pulse"]
    assert task.support_x.shape == (3, 1)
    assert task.query_y.shape == task.predicted.shape == (4, 2)
    np.testing.assert_allclose(task.query_y[:, 1], 2 * task.query_y[:, 0], rtol=1e-5)
    if order:
        np.testing.assert_allclose(task.support_x[:, 0], [0, 7, 14], atol=1e-4)
