"""Recorded steps: equal to computed ones, or not used. A recorder of the tests stands for CUDA's."""

import copy

import pytest
import torch
from torch import nn

from metarun.algorithms import MAML, MAMLPlusPlus, ProtoNet
from metarun.training import cuda_graph
from metarun.training.cuda_graph import CudaGraphs
from metarun.training.loop import Training
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_stream, run_by
from tests.training.test_loop import SCHEDULE
from tests.training.test_waiting import GPUS

WITHOUT = "train.cuda_graph=true but computing without CUDA graphs: "


class Repeats:
    """Computes the recorded step again, on the tensors that it was recorded on; `spoil` changes what it returns."""

    def __init__(self, spoil=lambda found, replay: found):
        self.spoil, self.recorded, self.replayed = spoil, 0, 0

    def record(self, step):
        self.recorded += 1
        step()

        def replay():
            self.replayed += 1
            return self.spoil(step(), self.replayed)

        return replay


class Remembers(Repeats):
    """A recording that reads other memory than that of its inputs."""

    def record(self, step):
        found = step()
        return lambda: found


class Fails(Repeats):
    def record(self, step):
        step()  # running statistics have changed when it fails
        raise RuntimeError("operation not permitted when stream is capturing.\nCUDA kernel errors might be …")


def make_maml():
    return MAML(make_conv4(), 5, 0.1, 1)


def make_protonet():
    return ProtoNet(make_conv4("running"))


def train(make, recorder=None, steps=3, at_once=None, device="cpu", **schedule) -> Training:
    torch.manual_seed(0)
    streams = (make_stream(split=split, device=device) for split in ("train", "val"))
    method = run_by("loop", make()).to(device)
    training = Training(method, Schedule(**{**SCHEDULE, **schedule}), *streams, recorder=recorder)
    training.progress.at_once = at_once
    for _ in range(steps):
        training._step()
    return training


def assert_equal(one: Training, other: Training) -> None:
    theirs = other.algorithm.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.algorithm.state_dict().items())
    assert torch.equal(one._loss_sum, other._loss_sum)


@pytest.mark.parametrize("make", [make_maml, make_protonet])
def test_a_step_is_recorded_once_and_replayed_in_all_steps_with_the_same_bits(make):
    recorder = Repeats()
    assert_equal(train(make, recorder, clip_grad=0.01), train(make, clip_grad=0.01))
    assert (recorder.recorded, recorder.replayed) == (1, 3)


def test_parts_of_a_meta_batch_are_recorded_by_their_sizes_and_add_up():
    recorder = Repeats()
    recorded, computed = (
        train(make_maml, each, steps=1, at_once=2, meta_batch=5, outer_optimizer="sgd") for each in (recorder, None)
    )
    assert (recorder.recorded, recorder.replayed) == (2, 3), "of 2, 2 and 1 tasks"
    torch.testing.assert_close(recorded.algorithm.state_dict(), computed.algorithm.state_dict(), rtol=1e-4, atol=1e-5)


def test_a_training_resumes_with_recordings_with_the_same_bits():
    stopped = train(make_protonet, Repeats(), steps=2)
    resumed = train(make_protonet, Repeats(), steps=0)
    resumed.restore(copy.deepcopy(stopped.state()))
    resumed._step()
    assert_equal(resumed, train(make_protonet, Repeats()))


def opposite_gradient(found, _):
    return [found[0], *(-each for each in found[1:])]


def wrong_from(number):
    return lambda found, replay: [2 * each for each in found] if replay >= number else found


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [
        (Remembers(), "in replay 1, the loss is off by "),
        (Repeats(wrong_from(1)), "in replay 1, the loss is off by "),
        (Repeats(opposite_gradient), "in replay 1, the gradient is off by 2"),
        (Fails(), "operation not permitted when stream is capturing\n"),
    ],
    ids=["remembers", "is wrong", "is wrong by its gradient", "fails"],
)  # fmt: skip
def test_a_recording_that_is_wrong_or_fails_changes_nothing(recorder, reason, caplog):
    assert_equal(train(make_protonet, recorder), train(make_protonet))
    assert WITHOUT + reason in caplog.text
    assert caplog.text.count(WITHOUT) == 1


def test_a_recording_is_checked_again_after_some_replays(monkeypatch, caplog):
    monkeypatch.setattr(cuda_graph, "CHECK_EVERY", 3)
    recorder = Repeats(wrong_from(4))
    assert_equal(train(make_protonet, recorder, steps=6), train(make_protonet, steps=6))
    assert WITHOUT + "in replay 4, the loss is off by 1.0e+00 of the norm; steps since the last" in caplog.text


class Dropping(nn.Module):
    features = 3 * 16 * 16

    def forward(self, x):
        return nn.functional.dropout(x, training=self.training).flatten(1).repeat(1, 3)


class Rebinding(nn.Module):
    features = 256

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(256))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen = self.seen + len(x)
        return x.flatten(1) * self.weight


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: ProtoNet(nn.Sequential(Dropping(), nn.Linear(768, 4))), "a step draws random numbers"),
        (lambda: ProtoNet(Rebinding()), "a step replaces its buffers instead of changing them"),
        (lambda: MAMLPlusPlus(make_conv4(), 5, 0.1, 1), "MAMLPlusPlus changes how it computes in the course of"),
    ],
    ids=["random numbers", "new buffers", "a schedule"],
)
def test_steps_that_no_recording_can_repeat_are_computed(make, reason, caplog):
    assert_equal(train(make, Repeats()), train(make))
    assert WITHOUT + reason in caplog.text


def test_tasks_of_many_sizes_are_computed(monkeypatch, caplog):
    monkeypatch.setattr(cuda_graph, "MOST", 1)
    recorder = Repeats()
    train(make_protonet, recorder, steps=1, at_once=2, meta_batch=3)
    assert WITHOUT + "tasks have more than 1 sizes" in caplog.text
    assert recorder.recorded == 1


@pytest.mark.parametrize("make", [make_maml, make_protonet])
@pytest.mark.parametrize("device", [torch.device("cpu"), *GPUS], ids=str)
def test_a_device_replays_what_it_would_compute(make, device, caplog):
    recorder = CudaGraphs(device) if device.type == "cuda" else Repeats()
    recorded, computed = (train(make, each, device=device) for each in (recorder, None))
    assert WITHOUT not in caplog.text
    torch.testing.assert_close(recorded.algorithm.state_dict(), computed.algorithm.state_dict(), rtol=1e-3, atol=1e-4)
