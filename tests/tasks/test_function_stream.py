"""Tasks of functions: pure functions of their number, in their ranges, with noise on support targets alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from metarun.data import GaussianProcess, Polynomial, Sinusoid
from metarun.errors import UserError
from metarun.evaluation.ridge import predict_by_ridge
from metarun.tasks.batch import TaskShape
from metarun.tasks.function_stream import FunctionTaskStream
from metarun.tasks.rng import as_normal, split_key, uniform
from metarun.tasks.source import task_source
from metarun.tasks.validation import check_tasks

CPU = torch.device("cpu")
FAMILIES = {
    "sinusoid": Sinusoid(noise=0.1),
    "linear": Polynomial(1, inputs=3, outputs=2, noise=0.1),
    "polynomial": Polynomial(3, inputs=2),
    "gp": GaussianProcess(inputs=2, outputs=3, noise=0.1),
}


def stream_of(family, split="train", shot=6, query=4, seed=0, dtype=torch.float64) -> FunctionTaskStream:
    return task_source(family).stream(split, TaskShape(1, shot, query), seed, CPU, dtype)


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_are_the_same_in_any_chunking_and_precision(name):
    family = FAMILIES[name]
    whole, part = stream_of(family).draw(0, 7), stream_of(family).draw(4, 2)
    for field in ("support_x", "support_y", "query_x", "query_y"):
        assert torch.equal(getattr(whole, field)[4:6], getattr(part, field)), "bit for bit"
    assert torch.equal(whole.query_y.float(), stream_of(family, dtype=torch.float32).draw(0, 7).query_y)
    assert not torch.equal(whole.query_y, stream_of(family, seed=1).draw(0, 7).query_y)
    assert not torch.equal(whole.query_y, stream_of(family, "val").draw(0, 7).query_y)
    check_tasks(stream_of(family))


def test_shapes_are_those_of_the_family():
    source = task_source(FAMILIES["gp"])
    assert (source.outputs, source.example_shape) == (3, (2,))
    task = stream_of(FAMILIES["gp"]).draw(0, 5)
    assert task.support_x.shape == (5, 6, 2)
    assert task.query_y.shape == (5, 4, 3)


@settings(max_examples=15, deadline=None)
@given(st.floats(-50, 50), st.floats(0.1, 10), st.integers(1, 3), st.sampled_from(["train", "val", "test"]))
def test_inputs_stay_in_the_range_of_their_split(low, width, inputs, split):
    family = Polynomial(2, inputs=inputs, x=[low, low + width], test_x=[low + width, low + 2 * width])
    x = stream_of(family, split, shot=3, query=2).draw(0, 40).support_x
    start = low + width if split == "test" else low
    assert start <= x.min()
    assert x.max() <= start + width + 1e-9


@pytest.mark.parametrize("name", ["sinusoid", "linear", "gp"])
def test_noise_is_added_to_support_targets_alone(name):
    noisy = stream_of(FAMILIES[name]).draw(0, 400)
    settings = {"linear": {"degree": 1, "inputs": 3, "outputs": 2}, "gp": {"inputs": 2, "outputs": 3}}.get(name, {})
    clean = stream_of(type(FAMILIES[name])(**settings)).draw(0, 400)
    assert torch.equal(noisy.query_y, clean.query_y)
    noise = (noisy.support_y - clean.support_y).flatten()
    assert abs(noise.mean()) < 5 * 0.1 / len(noise) ** 0.5
    assert abs(noise.std() - 0.1) < 5 * 0.1 / (2 * len(noise)) ** 0.5


def test_normal_numbers_are_normal_and_finite():
    drawn = as_normal(uniform(split_key(0, torch.arange(100)), 1000)).flatten()
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs(float((drawn**power).mean()) - moment) < 0.06
    assert as_normal(torch.tensor([0.0, 0.5, 1 - 2.0**-53], dtype=torch.float64)).isfinite().all()


def test_gaussian_process_regression_explains_its_draws():
    """With the right kernel, scikit-learn's predictions are as uncertain as it says; errors have variance 1."""
    family = GaussianProcess(lengthscale=[0.5, 0.5], x=[-2, 2])
    tasks = stream_of(family, shot=8, query=5).draw(0, 60)
    scores = []
    for x, y, query_x, query_y in zip(tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y, strict=True):
        model = GaussianProcessRegressor(RBF(0.5), alpha=1e-8, optimizer=None).fit(x.numpy(), y[:, 0].numpy())
        mean, deviation = model.predict(query_x.numpy(), return_std=True)
        scores.append((query_y[:, 0].numpy() - mean) / deviation)
    assert abs(np.concatenate(scores).std() - 1) < 0.2


def test_ridge_regression_solves_linear_functions():
    tasks = stream_of(Polynomial(1, inputs=3, outputs=2), shot=6).draw(0, 20)
    assert (predict_by_ridge(tasks, 1e-9)[0] - tasks.query_y).abs().max() < 1e-5


def test_only_tests_of_other_ranges_are_other_tasks():
    plain, shifted = Sinusoid(), Sinusoid(test_x=[5, 10])
    assert stream_of(plain, "val").hash(9) == stream_of(shifted, "val").hash(9)
    assert stream_of(plain, "test").hash(9) != stream_of(shifted, "test").hash(9)
    assert stream_of(shifted, "test").draw(0, 9).query_x.min() >= 5


def test_a_task_is_one_function_of_several_outputs():
    with pytest.raises(UserError, match="way=3 but a task of linear is one function with 3 outputs"):
        task_source(Polynomial(1, outputs=3)).stream("train", TaskShape(3, 5, 5), 0, CPU, torch.float32)
