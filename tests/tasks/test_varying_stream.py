"""Tasks whose way and shot are drawn from ranges."""

import pytest
import torch

from metarun.algorithms import NearestCentroid, ProtoNet
from metarun.errors import UserError
from metarun.evaluation.evaluate import evaluate, evaluate_predictions
from metarun.evaluation.floor import floor
from metarun.tasks.augmentation import AugmentedStream, augmentations
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.source import task_source
from metarun.tasks.stream import StreamSpec
from metarun.tasks.validation import check_tasks
from metarun.tasks.varying_stream import VaryingTaskStream, by_shape, numbered_batches, size_texts
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_dataset

CPU = torch.device("cpu")
DATA = make_dataset(shape=(1, 4, 4))


def fixed(way, shot, seed=0) -> ClassTaskStream:
    return ClassTaskStream(DATA, StreamSpec("test", TaskShape(way, shot, 2), seed, CPU, torch.float32))


def varying(ways=(3, 6), shots=(1, 4), seed=0) -> VaryingTaskStream:
    return VaryingTaskStream(fixed(ways[1], shots[1], seed), (ways[0], shots[0]), seed)


def test_sizes_are_a_pure_function_of_the_seed_and_the_number_and_equally_likely():
    sizes = varying().sizes(0, 4000)
    assert torch.equal(sizes[7:20], varying().sizes(7, 13))
    assert not torch.equal(sizes[:50], varying(seed=1).sizes(0, 50))
    counts = (sizes - torch.tensor([3, 1])) @ torch.tensor([4, 1])
    assert counts.bincount(minlength=16).tolist() == pytest.approx([250] * 16, abs=70)


def test_task_i_is_task_i_of_the_stream_of_its_shape():
    tasks = varying()
    for number in (0, 5, 9):
        way, shot = tasks.sizes(number, 1)[0].tolist()
        one, other = tasks.draw(number, 1), fixed(way, shot).draw(number, 1)
        assert torch.equal(one.support_x, other.support_x)
        assert torch.equal(one.query_x, other.query_x)
        assert one.way == way
    with pytest.raises(ValueError, match="several shapes are not one batch"):
        tasks.draw(0, 20)
    check_tasks(tasks)


def test_each_task_is_judged_once_and_reported_at_its_place():
    tasks, told = varying(), []
    found = evaluate_predictions(floor, tasks, 30, lambda done, of: told.append((done, of)))
    alone = [evaluate_predictions(floor, fixed(*tasks.sizes(i, 1)[0].tolist()), i + 1).headline[i] for i in range(30)]
    assert torch.allclose(found.headline, torch.stack(alone))
    assert told[-1] == (30, 30)
    assert sorted(torch.cat([numbers for _, numbers in by_shape(tasks, 30)]).tolist()) == list(range(30))
    of_method = evaluate(NearestCentroid(torch.nn.Flatten()), tasks, 30, 0)
    assert torch.allclose(of_method.headline, found.headline)


def test_a_meta_batch_of_several_sizes_is_the_mean_over_its_tasks():
    method = ProtoNet(make_conv4("none", filters=4, shape=(1, 4, 4))).double()
    tasks = task_source(DATA).stream("train", TaskShape(5, 3, 2, smallest=(2, 1)), 0, CPU, torch.float64)
    schedule = Schedule(1, None, 7, 0.1, 1.0, 1, None, 1, 1, 0, "sgd")
    training = Training(method, schedule, tasks, tasks)
    before = [weight.detach().clone() for weight in method.parameters()]
    losses = [method.meta_loss(tasks.draw(i, 1)) for i in range(7)]
    assert len({tuple(sizes) for sizes in tasks.sizes(0, 7).tolist()}) > 3
    gradients = torch.autograd.grad(torch.stack(losses).mean(), [*method.parameters()])
    training._step()
    for weight, old, gradient in zip(method.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(weight, old - 0.1 * gradient, rtol=1e-9, atol=1e-12)


def test_tasks_of_several_sizes_are_augmented_by_their_own_numbers():
    tasks = task_source(DATA).stream("train", TaskShape(5, 3, 2, smallest=(2, 1)), 0, CPU, torch.float32)
    augmented = AugmentedStream(tasks, augmentations({"flip": 0.5}, DATA.inputs, "synthetic"), 0)
    for batch, (_, numbers) in zip(augmented.batches(3, 9), numbered_batches(tasks, 3, 9), strict=True):
        for i, number in enumerate(numbers.tolist()):
            assert torch.equal(batch.query_x[i], augmented.draw(number, 1).query_x[0])


def test_the_hash_knows_the_ranges():
    streams = [varying(), varying(ways=(2, 6)), varying(shots=(1, 5)), varying(seed=1)]
    assert len({stream.hash(20) for stream in streams}) == 4
    assert varying().hash(20) == varying().hash(20)


def test_sizes_are_written_as_ranges():
    assert size_texts(varying()) == ("3..6", "1..4")
    assert size_texts(varying(shots=(2, 2))) == ("3..6", 2)
    assert size_texts(fixed(5, 1)) == (5, 1)


def test_a_range_begins_at_sizes_that_can_be():
    with pytest.raises(UserError, match=r"way=1\.\.6 leaves nothing to tell apart in some tasks; begin `way` at 2"):
        varying(ways=(1, 6))
    with pytest.raises(UserError, match="shot=0 but a task needs at least 1"):
        varying(shots=(0, 4))
