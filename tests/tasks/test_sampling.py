"""Disjoint tasks: their number, that they share no example, and the coverage of their interval."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metarun.data import Sinusoid
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.sampling import Disjoint
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from tests.support.synthetic import make_dataset

CPU = torch.device("cpu")


def offsets_of(sizes: list[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(sizes)])


def disjoint_stream(sizes, way, shot, query, seed=0) -> ClassTaskStream:
    data = make_dataset(tuple(sizes), shape=(1, 2, 2))
    return ClassTaskStream(
        data, StreamSpec("train", TaskShape(way, shot, query), seed, CPU, torch.float32, disjoint=True)
    )


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=9), way=st.integers(2, 5), per_class=st.integers(1, 4))
def test_disjoint_tasks_share_no_example_and_use_almost_all(sizes, way, per_class):
    offsets = offsets_of(sizes)
    table = Disjoint.of(offsets, way, per_class, key=7).table
    assert table.unique().numel() == table.numel()
    classes = torch.bucketize(table, offsets[1:], right=True)
    assert (classes == classes[..., :1]).all(), "mixed classes"
    for task in classes[..., 0]:
        assert task.unique().numel() == way, "a class is in a task twice"
    left = torch.tensor(sizes) // per_class - classes[..., 0].flatten().bincount(minlength=len(sizes))
    assert (left > 0).sum() < way, "enough classes are left for one more task"


def test_equal_classes_give_the_maximum_number_of_tasks():
    assert disjoint_stream([20] * 12, way=5, shot=1, query=3).available == 12  # 60 parts of 4 examples
    assert disjoint_stream([20] * 11, way=5, shot=1, query=15).available == 2  # 11 parts, of which one is unused


def test_a_task_is_a_pure_function_of_the_seed_and_its_number():
    stream = disjoint_stream([20] * 12, way=5, shot=1, query=3)
    again = disjoint_stream([20] * 12, way=5, shot=1, query=3)
    assert torch.equal(stream.rows(3, 4)[1], again.rows(0, 12)[1][3:7])
    assert stream.hash(12) == again.hash(12)
    other = disjoint_stream([20] * 12, way=5, shot=1, query=3, seed=1)
    assert stream.hash(12) != other.hash(12)
    assert torch.equal(stream.rows(12, 2)[0], stream.rows(0, 2)[0]), "tasks repeat after the last"


def test_drawn_tasks_contain_the_examples_or_features_of_their_rows():
    stream = disjoint_stream([6] * 4, way=2, shot=1, query=2)
    values = torch.from_numpy(make_dataset((6,) * 4, shape=(1, 2, 2)).splits["train"].values).float() / 255
    support, query = stream.rows(0, 3)
    batch = stream.draw(0, 3)
    assert torch.equal(batch.support_x, values[support.flatten(1)])
    assert torch.equal(batch.query_x, values[query.flatten(1)])
    of_features = stream.of_features(values.flatten(1))
    assert torch.equal(of_features.draw(0, 3).query_x, values.flatten(1)[query.flatten(1)])


def test_too_few_tasks_are_refused():
    with pytest.raises(UserError, match=r"room for 1 task of 5w1s with 15 queries if no two tasks share an example"):
        disjoint_stream([20] * 5, way=5, shot=1, query=15)
    with pytest.raises(UserError, match=r"no two tasks of sinusoid share an example; leave it at closed"):
        task_source(Sinusoid()).stream("test", TaskShape(1, 5, 5), 0, CPU, torch.float64, disjoint=True)


@pytest.mark.slow
def test_only_the_interval_over_disjoint_tasks_covers_the_true_accuracy():
    """Simulate Lafargue et al. 2024: each example is right or wrong independently."""
    random, covered = np.random.default_rng(0), {"open": 0, "closed": 0}
    runs, truth = 2000, 0.8
    sizes = [8] * 15
    for run in range(runs):
        right = random.random(sum(sizes)) < truth
        for interval, tasks in (("open", None), ("closed", 300)):
            stream = disjoint_stream(sizes, 5, 1, 3, run) if tasks is None else closed_stream(sizes, run)
            figures = right[stream.rows(0, tasks or stream.available)[1]].mean((1, 2))
            half = stats.t.ppf(0.975, len(figures) - 1) * stats.sem(figures)
            covered[interval] += abs(figures.mean() - truth) <= half
    assert 0.93 <= covered["open"] / runs <= 0.97
    assert covered["closed"] / runs < 0.6, "300 tasks of 120 examples give too narrow an interval"


def closed_stream(sizes, seed) -> ClassTaskStream:
    data = make_dataset(tuple(sizes), shape=(1, 2, 2))
    return ClassTaskStream(data, StreamSpec("train", TaskShape(5, 1, 3), seed, CPU, torch.float32))
