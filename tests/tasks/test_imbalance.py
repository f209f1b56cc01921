"""Unequal shots: the support examples of a task shared out among its classes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.errors import UserError
from metarun.evaluation.floor import floor
from metarun.runner.head_check import check_head
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.imbalance import Shares
from metarun.tasks.rng import choose
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from metarun.tasks.validation import check_tasks
from metarun.tasks.varying_stream import VaryingTaskStream, batches_of
from tests.support.synthetic import make_dataset

CPU = torch.device("cpu")
DATA = make_dataset((6, 9, 12, 20, 40, 80), shape=(1, 2, 2))


def stream(way=4, shot=3, query=2, seed=0, imbalance="meta_dataset", data=DATA, smallest=None):
    shape = TaskShape(way, shot, query, imbalance=imbalance, smallest=smallest)
    return task_source(data).stream("test", shape, seed, CPU, torch.float64)


def shots_of(labels, way) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, way).sum(1)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 60), min_size=2, max_size=7),
    shot=st.integers(1, 6),
    query=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_shares_sum_to_the_budget_and_no_class_gives_more_than_it_has(sizes, shot, query, seed):
    sizes = torch.tensor([size + shot + query - 2 for size in sizes])
    sizes = sizes.expand(2, -1)
    shots = Shares(shot, query, "meta_dataset", 80).shots(torch.tensor([seed, seed + 1]), sizes, sizes - query)
    assert shots.sum(1).tolist() == [shot * sizes.shape[1]] * 2
    assert (shots >= 1).all()
    assert (shots <= sizes - query).all()


def test_shares_of_a_known_case(monkeypatch):
    monkeypatch.setattr("metarun.tasks.imbalance.uniform", lambda keys, count: torch.full((*keys.shape, count), 0.5))
    sizes = torch.tensor([[10, 20, 30, 40]])
    # Without chance 8 of the 12 are shared out as 0.8, 1.6, 2.4, 3.2 beyond the first; two are left for 0.8 and 0.6.
    assert Shares(3, 1, "meta_dataset", 40).shots(torch.tensor([0]), sizes, sizes - 1).tolist() == [[2, 3, 3, 4]]
    # The last has room for 2 of its 4; the class that is furthest behind its share gets more.
    assert Shares(3, 1, "meta_dataset", 40).shots(
        torch.tensor([0]), sizes, torch.tensor([[9, 19, 29, 2]])
    ).tolist() == [[3, 3, 4, 2]]


def test_with_one_shot_there_is_nothing_to_share_out():
    sizes = torch.tensor([[10, 20, 30, 400]])
    assert Shares(1, 1, "meta_dataset", 400).shots(torch.tensor([0]), sizes, sizes - 1).tolist() == [[1, 1, 1, 1]]


def test_large_classes_have_more_shots_and_the_factor_of_chance_is_from_a_half_to_two():
    shares = Shares(10, 1, "meta_dataset", 60)
    sizes = torch.tensor([30, 30, 60]).expand(5000, -1)
    shots = shares.shots(torch.arange(5000), sizes, sizes - 1).double()
    weights = np.exp(np.random.default_rng(0).uniform(np.log(0.5), np.log(2), (100_000, 3))) * sizes[0].numpy()
    expected = 1 + 27 * (weights / weights.sum(1, keepdims=True)).mean(0)
    assert shots.mean(0).tolist() == pytest.approx(expected.tolist(), abs=0.2)
    # The extremes: (0.5, 0.5, 2) and (2, 2, 0.5) times the sizes share out 27 examples beyond the first.
    assert shots[:, 2].max() <= 1 + 27 * 120 / 150 + 1
    assert shots[:, 2].min() >= 1 + 27 * 30 / 150


def test_tasks_keep_the_queries_and_labels_and_share_no_example():
    tasks = stream()
    batch = tasks.draw(0, 200)
    assert batch.support_y.shape == (200, 12)
    assert (batch.support_y.diff(dim=1) >= 0).all(), "sorted by class"
    shots = shots_of(batch.support_y, 4)
    assert shots.unique(dim=0).shape[0] > 20
    rows, queries = tasks.rows(0, 200)
    assert torch.equal((rows >= 0).sum(2), shots)
    both = torch.cat([rows, queries], 2).flatten(1)
    assert all(len(kept := row[row >= 0]) == len(kept.unique()) == 12 + 8 for row in both)
    values = torch.from_numpy(DATA.splits["test"].values).double() / 255
    assert torch.equal(batch.support_x[3], values[rows[3][rows[3] >= 0]])
    check_tasks(tasks)


def test_known_tasks_stay_the_same_for_ever():
    assert shots_of(stream().draw(0, 4).support_y, 4).tolist() == KNOWN
    assert stream().rows(0, 1)[1][0].tolist() == KNOWN_QUERIES


KNOWN = [[3, 2, 3, 4], [2, 6, 2, 2], [5, 2, 1, 4], [2, 1, 3, 6]]
KNOWN_QUERIES = [[27, 42], [10, 14], [19, 16], [63, 76]]


def test_the_floor_is_the_nearest_mean_of_each_class():
    batch = stream().draw(0, 3)
    for i in range(3):
        means = torch.stack([batch.support_x[i][batch.support_y[i] == c].flatten(1).mean(0) for c in range(4)])
        expected = -torch.cdist(batch.query_x[i].flatten(1), means).square()
        torch.testing.assert_close(floor(batch)[0, i], expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 60), min_size=2, max_size=7),
    shot=st.integers(1, 4),
    query=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_queries_sum_to_the_budget_and_no_class_gives_more_than_it_has(sizes, shot, query, seed):
    sizes = torch.tensor([size + shot + query - 2 for size in sizes])
    room = sizes.expand(2, -1) - shot
    queries = Shares(shot, query, "dirichlet", 100).queries(torch.tensor([seed, seed + 1]), room)
    assert queries.sum(1).tolist() == [query * sizes.shape[0]] * 2
    assert (queries >= 0).all()
    assert (queries <= room).all()


def test_shares_of_queries_are_those_of_dirichlet_2():
    room = torch.full((4000, 4), 10**6)
    shares = Shares(1, 10_000, "dirichlet", 10**6).queries(torch.arange(4000), room).double() / 40_000
    assert shares.mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.01)
    # The variance of a share of Dirichlet(2, 2, 2, 2) is 2 * 6 / (8 ** 2 * 9); uniform shares would have 3 / 80.
    assert shares.var(0).tolist() == pytest.approx([12 / 576] * 4, rel=0.1)


@pytest.mark.parametrize("imbalance", ["dirichlet", "meta_dataset+dirichlet"])
def test_tasks_of_unequal_queries_keep_their_number_and_share_no_example(imbalance):
    tasks = stream(imbalance=imbalance, query=3)
    batch = tasks.draw(0, 200)
    assert batch.support_y.shape == (*batch.query_y.shape[:1], 12) == (200, 12)
    rows, queries = tasks.rows(0, 200)
    counts = shots_of(batch.query_y, 4)
    assert torch.equal((queries >= 0).sum(2), counts)
    assert counts.unique(dim=0).shape[0] > 20
    assert (counts == 0).any(), "a class may have no query"
    assert ((rows >= 0).sum(2) == 3).all() == (imbalance == "dirichlet")
    both = torch.cat([rows, queries], 2).flatten(1)
    assert all(len(kept := row[row >= 0]) == len(kept.unique()) == 12 + 12 for row in both)
    values = torch.from_numpy(DATA.splits["test"].values).double() / 255
    assert torch.equal(batch.query_x[3], values[queries[3][queries[3] >= 0]])
    assert torch.equal(batch.classes, tasks.class_of(both.unflatten(1, (4, -1)).amax(-1)))
    check_tasks(tasks)


def test_the_hash_and_the_number_determine_a_task():
    tasks = stream()
    assert torch.equal(tasks.draw(7, 2).support_y, stream().draw(0, 10).support_y[7:9])
    assert len({each.hash(9) for each in (tasks, stream(seed=1), stream(imbalance=None), stream(shot=2))}) == 4


def test_ranges_and_unequal_shots_together():
    tasks = stream(way=5, shot=3, smallest=(2, 1))
    assert isinstance(tasks, VaryingTaskStream)
    batches = [*batches_of(tasks, 4, 40)]
    assert sum(map(len, batches)) == 40
    assert all(batch.support_y.shape[1] % batch.way == 0 for batch in batches)
    check_tasks(tasks)


def test_draws_of_several_lengths_are_the_first_ones_in_random_order():
    keys, sizes = torch.arange(2000), torch.full((2000,), 5)
    some = choose(keys, sizes, 4, torch.arange(2000) % 4 + 1)
    assert (some >= 0).sum(1).tolist() == (torch.arange(2000) % 4 + 1).tolist()
    assert all(len({*row} - {-1}) == sum(place >= 0 for place in row) for row in some.tolist())
    assert torch.equal(choose(keys, sizes, 3), choose(keys, sizes, 3, torch.full_like(sizes, 3)))
    counts = some[3::4].flatten().bincount(minlength=5)  # four of five, each equally often
    assert counts.tolist() == pytest.approx([400] * 5, abs=60)


def test_a_method_that_needs_equal_shots_is_refused():
    method = SimpleNamespace(needs_equal_shots=True, outputs=None)
    parts = SimpleNamespace(method=method, source=None, config={"chosen": {"algo": "mine"}})
    with pytest.raises(UserError, match=r"imbalance=meta_dataset but mine needs the same number .*such as protonet"):
        check_head(parts, TaskShape(2, 2, 2, imbalance="meta_dataset"))


def test_equal_tasks_are_those_of_before():
    shape = TaskShape(4, 3, 2)
    assert torch.equal(ClassTaskStream(DATA, StreamSpec("test", shape, 0, CPU, torch.float32)).rows(0, 1)[1][0], EQUAL)


EQUAL = torch.tensor([[40, 31], [6, 12], [17, 24], [48, 52]])
