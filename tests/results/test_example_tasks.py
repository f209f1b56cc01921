from dataclasses import replace

import numpy as np
import pytest
import torch

from metarun.algorithms import MAML, ProtoNet
from metarun.errors import UserError
from metarun.evaluation.evaluate import evaluate_predictions
from metarun.evaluation.example_predictions import predict_examples
from metarun.results.example_tasks import SIDE, ExampleTask, is_picture, load, save, shrink
from tests.support.synthetic import make_conv4, make_stream


def whole_task(way=2, per_class=1, side=8, channels=1):
    labels = np.repeat(np.arange(way), per_class)
    x = np.random.default_rng(0).random((len(labels), channels, side, side), dtype=np.float32)
    return ExampleTask(x, labels, x, labels, labels[::-1], np.linspace(0, 1, len(labels), dtype=np.float32))


def test_saved_tasks_are_loaded(tmp_path):
    tasks = [shrink(whole_task()), shrink(whole_task(way=3))]
    save(tmp_path / "examples.npz", tasks)
    for saved, loaded in zip(tasks, load(tmp_path / "examples.npz"), strict=True):
        for name, array in vars(saved).items():
            np.testing.assert_array_equal(array, getattr(loaded, name))
    assert [path.name for path in tmp_path.iterdir()] == ["examples.npz"]


def rows_task(cells=2) -> ExampleTask:
    x = np.array([["1.5", "red"], ["2", "–"]])[:, :cells]
    labels = np.array([0, 1], np.int16)
    names = np.array(["size", "colour"]) if cells > 1 else np.empty(0, "U1")
    return ExampleTask(x, labels, x, labels, labels, np.array([0.5, 1], np.float32), names)


def points_task() -> ExampleTask:
    x, y = np.float32([[0], [1]]), np.float32([[0, 5], [1, 6]])
    return ExampleTask(x, y, x, y, y + 1, np.empty(0, np.float32), np.array(["time", "a", "b"]))


@pytest.mark.parametrize("task", [rows_task(), rows_task(1), points_task()])
def test_texts_rows_and_named_points_are_loaded(tmp_path, task):
    save(tmp_path / "examples.npz", [shrink(task), shrink(task)])
    loaded = load(tmp_path / "examples.npz")
    assert len(loaded) == 2
    for name, array in vars(shrink(task)).items():
        np.testing.assert_array_equal(array, getattr(loaded[1], name))


@pytest.mark.parametrize(
    "changed",
    [
        {"names": np.array(["one"])},
        {"names": np.array([1, 2])},
        {"query_x": np.array([["a"], ["b"]])},
        {"support_x": np.array([["a" * 1_000, "b"], ["c", "d"]])},
        {"support_x": np.array([["\ud800", "b"], ["c", "d"]])},
        {"query_y": np.float32([0, 1])},
    ],
)
def test_texts_that_do_not_match_are_not_loaded(tmp_path, changed):
    save(tmp_path / "examples.npz", [replace(rows_task(), **changed)])
    with pytest.raises(UserError, match=r"examples\.npz cannot be read \(.+\); delete it"):
        load(tmp_path / "examples.npz")


def test_at_most_five_classes_and_three_examples_of_each_are_kept():
    kept = shrink(whole_task(way=7, per_class=4))
    assert kept.query_y.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert kept.support_x.shape == (15, 1, 8, 8)
    assert kept.predicted[:3].tolist() == [6, 6, 6], "a class that is not displayed can be predicted"


def test_a_pixel_of_a_shrunk_picture_is_the_mean_of_a_square():
    task = whole_task(side=2 * SIDE + 1, channels=3)
    kept = shrink(task)
    assert kept.query_x.shape == (2, 3, 28, 28)  # 85 pixels, three to one
    assert kept.query_x[1, 2, 5, 6] == round(float(task.query_x[1, 2, 15:18, 18:21].mean()) * 255)


def test_values_outside_0_to_1_rescale_all_pictures_of_a_task():
    task = whole_task()
    task.query_x[0, 0, 0, 0], task.query_x[1, 0, 0, 0] = -1.0, 3.0
    kept = shrink(task)
    assert kept.query_x[:, 0, 0, 0].tolist() == [0, 255]
    assert kept.support_x[1, 0, 0, 1] == np.rint((task.support_x[1, 0, 0, 1] + 1) / 4 * 255)


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((1, 28, 28), True),
        ((3, 84, 60), True),
        ((4, 28, 28), False),
        ((1, 1, 500), False),
        ((64,), False),
        ((1,), False),
    ],
)
def test_only_grey_and_colour_pictures_are_displayed_as_such(shape, shown):
    assert is_picture(shape) == shown


@pytest.mark.parametrize("method", [ProtoNet, lambda backbone: MAML(backbone, 5, 0.1, 1)])
def test_the_predictions_are_those_of_the_evaluation(method):
    torch.manual_seed(0)
    algorithm, stream = method(make_conv4()), make_stream(query=2)
    shown = predict_examples(algorithm, stream, 2, range(9))
    found = evaluate_predictions(lambda batch: algorithm.predict(batch, 2), stream, 3)
    assert [(task.predicted == task.query_y).mean() for task in shown] == found.values["accuracy"][-1].tolist()
    np.testing.assert_allclose([task.confidence.mean() for task in shown], found.values["confidence"][-1], rtol=1e-5)


def test_there_are_at_most_as_many_examples_as_tasks():
    assert len(predict_examples(ProtoNet(make_conv4()), make_stream(), 0, range(2))) == 2


@pytest.mark.parametrize("spoil", ["truncate", "text", "npy", "pickle", "labels", "halves", "nan", "bomb", "shapes"])
def test_a_damaged_file_is_one_sentence_and_runs_no_code(spoil, tmp_path):
    path = tmp_path / "examples.npz"
    task = shrink(whole_task())
    save(path, [task])
    arrays = {f"{name}_0": array for name, array in vars(task).items()}
    if spoil == "truncate":
        path.write_bytes(path.read_bytes()[:-40])
    elif spoil == "text":
        path.write_text("no archive")
    elif spoil == "npy":
        with path.open("wb") as file:
            np.save(file, task.query_x)
    elif spoil == "pickle":
        np.savez(path, **{**arrays, "query_y_0": np.array([{}, None], dtype=object)})
    elif spoil == "labels":
        np.savez(path, **{**arrays, "predicted_0": np.array(["<b>", "x"])})
    elif spoil == "halves":
        np.savez(path, **{**arrays, "predicted_0": task.predicted + 0.5})
    elif spoil == "nan":
        np.savez(path, **{**arrays, "confidence_0": task.confidence * np.float32("nan")})
    elif spoil == "bomb":
        np.savez_compressed(path, **{**arrays, "support_x_0": np.zeros((100_000, 1, 42, 42), np.uint8)})
    else:
        np.savez(path, **{**arrays, "query_x_0": task.query_x[:1]})
    with pytest.raises(UserError, match=r"examples\.npz cannot be read \(.+\); delete it"):
        load(path)
