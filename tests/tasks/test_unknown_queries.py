"""Queries that belong to no class of their task."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.mixture_stream import EachSetStream
from metarun.tasks.sampling import choose_others
from metarun.tasks.stream import StreamSpec
from metarun.tasks.unknown_queries import UnknownQueries, WithUnknown, unknown_queries
from metarun.tasks.varying_stream import VaryingTaskStream
from tests.support.synthetic import make_dataset, make_stream

UNKNOWN = UnknownQueries("unknown", 2)
CPU = torch.device("cpu")


def numbered(classes=6, size=5, out_of_scope=None, shape=None, disjoint=False):
    """Return a stream over examples that are their number in the test split, from which the class can be told."""
    data = make_dataset(sizes=(size,) * classes, shape=(1,))
    test = data.splits["test"]
    values = np.arange(classes * size, dtype=np.uint8)[:, None]
    data = replace(data, splits={**data.splits, "test": replace(test, values=values)}, out_of_scope=out_of_scope)
    shape = shape or TaskShape(3, 1, 2)
    return ClassTaskStream(data, StreamSpec("test", shape, 0, CPU, torch.float64, disjoint))


def numbers(x):
    return (x * 255).round().long().flatten(1)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2**40))
def test_other_classes_are_all_different_and_none_of_the_tasks(way, more, count, key):
    population, keys = way + more + count, torch.arange(4) + key
    generator = torch.Generator().manual_seed(key)
    classes = torch.stack([torch.randperm(population, generator=generator)[:way] for _ in keys])
    others = choose_others(keys, classes, population, count)
    for own, other in zip(classes.tolist(), others.tolist(), strict=True):
        assert len({*own, *other}) == way + count
        assert all(0 <= each < population for each in other)


def test_each_other_class_is_equally_likely():
    keys = torch.arange(6000)
    others = choose_others(keys, torch.tensor([[4, 1]]).expand(6000, -1), 6, 1)[:, 0]
    counts = others.bincount(minlength=6)
    assert counts[[1, 4]].tolist() == [0, 0]
    assert counts[[0, 2, 3, 5]].tolist() == pytest.approx([1500] * 4, rel=0.1)


def test_unknown_queries_are_of_classes_that_are_not_in_the_task():
    stream = numbered()
    tasks, unknown = stream.draw(0, 50), numbers(UNKNOWN.draw(stream, 0, 50))
    assert unknown.shape == (50, 4)
    for own, others in zip(tasks.classes.tolist(), unknown.tolist(), strict=True):
        assert len(set(others)) == 4
        assert len({number // 5 for number in others}) == 2
        assert not {number // 5 for number in others} & {*own}


def test_they_are_a_pure_function_of_the_tasks_number():
    stream = numbered()
    whole = UNKNOWN.draw(stream, 0, 9)
    assert torch.equal(UNKNOWN.draw(stream, 4, 2), whole[4:6])
    selected = stream.of_shape(replace(stream.shape, shot=2), torch.tensor([7, 2]))
    assert torch.equal(UNKNOWN.draw(selected, 0, 2), whole[[7, 2]])
    on_features = stream.of_features(torch.arange(30, dtype=torch.float64)[:, None] / 255)
    assert torch.equal(UNKNOWN.draw(on_features, 0, 9), whole)


def test_tasks_with_unknown_queries_have_their_own_first_with_their_labels():
    stream = numbered()
    tasks, both = stream.draw(3, 2), WithUnknown(stream, UNKNOWN).draw(3, 2)
    assert torch.equal(both.query_x[:, :6], tasks.query_x)
    assert torch.equal(both.query_x[:, 6:], UNKNOWN.draw(stream, 3, 2))
    assert both.query_y[0].tolist() == [*tasks.query_y[0].tolist(), -1, -1, -1, -1]
    assert torch.equal(both.support_x, tasks.support_x)
    assert WithUnknown(stream, UNKNOWN).hash(5) == stream.hash(5)


def test_queries_out_of_scope_are_different_examples_of_those():
    aside = np.arange(100, 120, dtype=np.uint8)[:, None]
    stream, out_of_scope = numbered(out_of_scope=aside), UnknownQueries("out_of_scope", 7)
    drawn = numbers(out_of_scope.draw(stream, 0, 30))
    assert all(len(set(each)) == 7 for each in drawn.tolist())
    assert {*drawn.flatten().tolist()} == {*range(100, 120)}
    assert torch.equal(numbers(out_of_scope.draw(stream, 5, 3)), drawn[5:8])
    assert stream.hash(9) == numbered().hash(9)  # the tasks are the same


def test_examples_out_of_scope_have_the_shape_of_the_others():
    with pytest.raises(UserError, match=r"of synthetic that are out of scope have shape \(2,\) and dtype uint8; give"):
        numbered(out_of_scope=np.zeros((5, 2), np.uint8))


@pytest.mark.parametrize(
    ("classes", "out_of_scope", "stream", "sentence"),
    [
        (-1, 0, numbered, "test.unknown=-1 but it cannot be negative; raise `test.unknown`"),
        (4, 0, numbered, r"test.unknown=4 but the split has 6 classes, of which a task can have 3; lower"),
        (0, 3, numbered, "test.out_of_scope=3 but these data have no examples out of scope; set `test.unknown=5`"),
        (1, 0, lambda: numbered(size=8, disjoint=True), "test.unknown=1 but test.interval=open leaves no examples"),
    ],
)
def test_what_the_data_cannot_serve_is_one_sentence(classes, out_of_scope, stream, sentence):
    with pytest.raises(UserError, match=sentence):
        unknown_queries(classes, out_of_scope, stream())


def test_the_largest_of_tasks_of_different_sizes_leaves_enough_classes():
    stream = VaryingTaskStream(numbered(shape=TaskShape(4, 1, 2)), (2, 1), seed=0)
    assert {way for way, _ in stream.sizes(0, 20).tolist()} == {2, 3, 4}
    assert unknown_queries(2, 0, stream) == (UNKNOWN,)
    with pytest.raises(UserError, match=r"test.unknown=3 but the split has 6 classes, of which a task can have 4"):
        unknown_queries(3, 0, stream)


def test_each_of_several_data_sets_is_checked():
    with_aside = numbered(classes=8, out_of_scope=np.zeros((5, 1), np.uint8))
    stream = EachSetStream({"clinc150": with_aside, "banking77": numbered()})
    assert unknown_queries(2, 0, stream) == (UNKNOWN,)
    with pytest.raises(UserError, match=r"test.out_of_scope=3 but banking77 has no examples out of scope; set"):
        unknown_queries(0, 3, stream)
    with pytest.raises(
        UserError, match=r"test.unknown=4 but the split of banking77 has 6 classes, of which a task can"
    ):
        unknown_queries(4, 0, stream)
    varying = {name: VaryingTaskStream(each, (2, 1), seed=0) for name, each in stream.streams.items()}
    with pytest.raises(UserError, match=r"test.unknown=4 but the split of banking77 has 6 classes"):
        unknown_queries(4, 0, EachSetStream(varying))


def test_nothing_is_asked_by_default():
    assert unknown_queries(0, 0, make_stream()) == ()
