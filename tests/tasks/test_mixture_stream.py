"""Tasks of several data sets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metarun.data import ClassDataset, MixedDatasets
from metarun.errors import UserError
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.mixture_stream import EachSetStream, MixtureStream
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from metarun.tasks.validation import check_tasks
from metarun.tasks.varying_stream import VaryingTaskStream, by_shape, size_texts
from tests.support.synthetic import make_dataset

SHAPE = TaskShape(3, 1, 2)
CPU = torch.device("cpu")
PARTS = {"a": make_dataset(sizes=(6,) * 5), "b": make_dataset(sizes=(7,) * 4, seed=1)}


def make(split="train", shape=SHAPE, weights=(1, 3), seed=0, parts=PARTS):
    mixed = MixedDatasets(parts, dict(zip(parts, weights, strict=True)))
    return task_source(mixed).stream(split, shape, seed, CPU, torch.float32)


def alone(name, split="train", shape=SHAPE, seed=0):
    return ClassTaskStream(PARTS[name], StreamSpec(split, shape, seed, CPU, torch.float32))


def assert_equal(one, other):
    for field in ("support_x", "support_y", "query_x", "query_y"):
        assert torch.equal(getattr(one, field), getattr(other, field)), field


def test_data_sets_are_drawn_by_their_weights_whatever_is_asked_for_first():
    stream = make()
    assert isinstance(stream, MixtureStream)
    sets = stream.sets(0, 4000)
    assert sets.double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(stream.sets(1000, 50), sets[1000:1050])
    assert torch.equal(make(weights=(2, 6)).sets(0, 100), sets[:100])
    assert not torch.equal(make(seed=1).sets(0, 100), sets[:100])


def test_a_task_is_the_one_with_its_number_of_its_data_set_in_any_chunking():
    stream = make()
    whole = stream.draw(0, 9)
    for number, of_set in enumerate(stream.sets(0, 9).tolist()):
        one, expected = stream.draw(number, 1), alone("ab"[of_set]).draw(number, 1)
        assert_equal(one, expected)
        assert torch.equal(whole.query_x[number], expected.query_x[0])
        assert torch.equal(one.classes, expected.classes + (5 if of_set else 0))  # a has classes 0 to 4


def test_parts_have_the_same_tasks_and_a_hash_says_so():
    stream = make("val")
    for part, numbers in by_shape(stream, 8):
        for place, number in enumerate(numbers.tolist()):
            assert_equal(part.draw(place, 1), stream.draw(number, 1))
    assert stream.hash(8) == make("val").hash(8)
    assert len({stream.hash(8), stream.hash(7), make("val", seed=1).hash(8), make("val", weights=(3, 1)).hash(8)}) == 4
    check_tasks(stream)


def test_examples_on_disk_make_the_same_tasks(tmp_path):
    def on_disk(name, data):
        splits = {}
        for split, examples in data.splits.items():
            np.save(path := tmp_path / f"{name}-{split}.npy", examples.values)
            splits[split] = type(examples)(np.load(path, mmap_mode="r"), examples.offsets, examples.class_names)
        return ClassDataset(data.name, splits)

    stream = make(parts={name: on_disk(name, data) for name, data in PARTS.items()})
    assert stream.streams[0].reads_ahead
    for first in (0, 3, 6, 1):  # the next ones are read ahead
        assert_equal(stream.draw(first, 3), make().draw(first, 3))


def test_meta_test_takes_turns_and_each_data_set_has_the_tasks_of_a_test_of_it_alone():
    stream = make("test")
    assert isinstance(stream, EachSetStream)
    batch = stream.draw(1, 4)  # task 0 of b, 1 of a, 1 of b, 2 of a
    for place, (name, number) in enumerate([("b", 0), ("a", 1), ("b", 1), ("a", 2)]):
        expected = alone(name, "test").draw(number, 1)
        assert torch.equal(batch.query_x[place], expected.query_x[0])
    (a, first), (b, second) = by_shape(stream, 6)
    assert (first.tolist(), second.tolist()) == ([0, 2, 4], [1, 3, 5])
    assert (a.hash(3), b.hash(3)) == (alone("a", "test").hash(3), alone("b", "test").hash(3))
    check_tasks(stream)


def test_tasks_of_several_sizes_and_data_sets():
    stream = make("test", replace(SHAPE, smallest=(2, 1)))
    assert size_texts(stream) == ("2..3", 1)
    numbers = torch.cat([numbers for _, numbers in by_shape(stream, 12)])
    assert sorted(numbers.tolist()) == list(range(12))
    expected = VaryingTaskStream(alone("b", "test"), (2, 1), 0)
    assert stream.streams["b"].hash(6) == expected.hash(6)


def test_the_meta_train_classes_are_those_of_all_data_sets():
    mixed = task_source(MixedDatasets(PARTS, {"a": 1, "b": 1}))
    parts = [task_source(part).train_classes for part in PARTS.values()]
    assert mixed.train_classes == sum(parts)


def test_meta_training_tasks_of_several_data_sets_have_one_size():
    with pytest.raises(UserError, match=r"data=a\+b names several data sets, whose tasks have one size in meta-train"):
        make("train", replace(SHAPE, smallest=(2, 1)))


def test_disjoint_tasks_are_of_one_data_set():
    with pytest.raises(UserError, match=r"test.interval=open but data=a\+b names several data sets; use .*closed, or"):
        task_source(MixedDatasets(PARTS, {"a": 1, "b": 1})).stream("test", SHAPE, 0, CPU, torch.float32, disjoint=True)


def test_a_data_set_that_cannot_serve_the_tasks_is_named():
    with pytest.raises(UserError, match="way=5 but split 'train' of synthetic has 4 classes"):
        make(shape=TaskShape(5, 1, 2))
