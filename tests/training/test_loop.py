import copy
import math

import pytest
import torch
from torch import nn

from metarun.algorithms import MAML, ProtoNet
from metarun.errors import Interrupted, RunFailed, UserError
from metarun.training import loop
from metarun.training.checkpoint import checksum, snapshot
from metarun.training.loop import Training
from metarun.training.meta_gradient import MetaGradient
from metarun.training.schedule import Schedule
from tests.support.synthetic import make_conv4, make_stream

NO_MEMORY = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."
SCHEDULE = {
    "iterations": 6,
    "time_budget": None,
    "meta_batch": 2,
    "outer_lr": 0.01,
    "lr_decay": 0.5,
    "lr_decay_every": 2,
    "clip_grad": None,
    "validate_every": 2,
    "validate_tasks": 8,
    "validate_steps": 1,
}


class Notes:
    """An observer that records, and an interrupt at some iteration."""

    def __init__(self, training, stop_at=math.inf):
        self.training, self.stop_at = training, stop_at
        self.saved, self.validations, self.fractions = [], [], []

    def on_progress(self, progress):
        self.fractions.append(progress.fraction)

    def on_validation(self, validation):
        self.validations.append((validation.iteration, validation.value, validation.best))

    def save(self):
        self.saved.append(snapshot(self.training.state()))

    def check_interrupt(self):
        if self.training.progress.iteration >= self.stop_at:
            raise Interrupted(2)

    def run(self):
        self.training.run(self.save, [self], self.check_interrupt)
        return self


def make_training(algorithm=MAML, norm="batch", **schedule) -> Training:
    torch.manual_seed(0)
    backbone = make_conv4(norm)
    made = MAML(backbone, 5, 0.1, 1) if algorithm is MAML else ProtoNet(backbone)
    streams = (make_stream(split="train"), make_stream(split="val"))
    return Training(made, Schedule(**{**SCHEDULE, **schedule}), *streams)


@pytest.mark.cross
@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize("algorithm", [MAML, ProtoNet])
@pytest.mark.parametrize("stop_at", [1, 2, 3, 5])
def test_a_resumed_training_is_bitwise_equal_to_an_uninterrupted_one(algorithm, norm, stop_at):
    uninterrupted = make_training(algorithm, norm)
    Notes(uninterrupted).run()
    stopped = make_training(algorithm, norm)
    with pytest.raises(Interrupted, match="rerun the same command to resume"):
        Notes(stopped, stop_at).run()
    resumed = make_training(algorithm, norm)
    resumed.restore(copy.deepcopy(stopped.state()))
    Notes(resumed).run()
    for name, tensor in uninterrupted.algorithm.state_dict().items():
        assert torch.equal(tensor, resumed.algorithm.state_dict()[name]), name
    without_seconds = [
        [{**row, "seconds": 0} for row in training.progress.curve] for training in (uninterrupted, resumed)
    ]
    assert without_seconds[0] == without_seconds[1]
    assert len(without_seconds[0]) == 6
    assert uninterrupted.progress.best_iteration == resumed.progress.best_iteration
    assert checksum(uninterrupted.best) == checksum(resumed.best)


def test_slow_steps_are_told_one_by_one(monkeypatch):
    told = []
    monkeypatch.setattr("metarun.training.loop.TELL_EVERY", 0.0)
    monkeypatch.setattr(Notes, "on_progress", lambda _, progress: told.append((progress.iteration, progress.between)))
    Notes(make_training(iterations=11)).run()
    assert told == [(step, step != 10) for step in range(1, 12)]


def test_an_interrupted_validation_is_repeated():
    training = make_training()
    calls = 0

    def check_interrupt():
        nonlocal calls
        calls += 1
        if calls == 3:  # after two steps, during validation
            raise Interrupted(2)

    notes = Notes(training)
    with pytest.raises(Interrupted, match="rerun the same command to resume"):
        training.run(notes.save, [notes], check_interrupt)
    assert (training.progress.iteration, training.progress.validated_at) == (2, 0)
    notes.run()
    assert [iteration for iteration, *_ in notes.validations] == [2, 4, 6]


def test_the_best_checkpoint_has_the_best_validation_score():
    training = make_training(iterations=10, outer_lr=0.05)
    notes = Notes(training).run()
    values = [value for _, value, _ in notes.validations]
    best = max(range(len(values)), key=values.__getitem__)  # the first of equals
    assert training.progress.best_value == values[best]
    assert training.progress.best_iteration == notes.validations[best][0]
    assert [was_best for *_, was_best in notes.validations] == [
        v > max(values[:i], default=-1) for i, v in enumerate(values)
    ]
    (chosen,) = [state for state in notes.saved if state["progress"]["iteration"] == training.progress.best_iteration]
    assert training.progress.best_iteration < 10, "otherwise the last weights would pass too"
    assert checksum(training.best) == checksum(chosen["algorithm"])


def test_the_last_step_is_always_validated_and_saved():
    training = make_training(iterations=5)
    notes = Notes(training).run()
    assert [iteration for iteration, *_ in notes.validations] == [2, 4, 5]
    assert notes.saved[-1]["progress"]["iteration"] == 5
    assert [row["split"] for row in training.progress.curve] == ["train", "val"] * 3


def test_training_learns():
    training = make_training(iterations=60, validate_every=30, lr_decay=1.0)
    Notes(training).run()
    assert training.progress.best_value > 0.4, "chance is 0.2"


def test_the_rate_is_halved_as_often_as_the_schedule_says():
    training = make_training(lr_decay=0.5, lr_decay_every=2, iterations=5)
    Notes(training).run()
    assert training.optimizer.lr == pytest.approx(0.01 * 0.5**2)


def test_a_step_is_adam_on_the_meta_loss_of_the_next_tasks():
    training, reference = make_training(lr_decay=1.0), make_training()
    training.progress.iteration = 3
    training._step()
    parameters = list(reference.algorithm.parameters())
    adam = torch.optim.Adam(parameters, lr=0.01)
    reference.algorithm.meta_loss(reference.train.draw(3 * 2, 2)).backward()
    adam.step()
    for ours, theirs in zip(training.algorithm.parameters(), parameters, strict=True):
        assert torch.equal(ours, theirs)


def test_with_sgd_a_step_is_the_meta_gradient_times_the_rate():
    training, reference = make_training(outer_optimizer="sgd"), make_training()
    training._step()
    parameters = list(reference.algorithm.parameters())
    reference.algorithm.meta_loss(reference.train.draw(0, 2)).backward()
    for ours, theirs in zip(training.algorithm.parameters(), parameters, strict=True):
        torch.testing.assert_close(ours, theirs - 0.01 * theirs.grad, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("lr_schedule", "rates"),
    [("linear", [0.01, 0.008, 0.006, 0.004]), ("cosine", [0.01, 0.0088284, 0.006, 0.0031716])],
)
def test_the_rate_falls_to_its_end_as_the_schedule_says(lr_schedule, rates):
    training = make_training(lr_schedule=lr_schedule, outer_lr_end=0.002, iterations=4)
    seen = []
    for _ in range(4):
        training._step()
        seen.append(training.optimizer.lr)
    assert seen == pytest.approx(rates, rel=1e-4)


def test_a_training_is_saved_at_time_intervals_too(monkeypatch):
    training = make_training(iterations=6, validate_every=6, checkpoint_every=10.0)
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(MetaGradient, "compute", lambda *_: torch.zeros(()))
    notes = Notes(training).run()
    saved = [state["progress"]["iteration"] for state in notes.saved]
    assert saved == [2, 4, 6, 6], "each step reads the clock twice, 4 seconds apart; the last is the validation"


def test_the_algorithm_receives_the_fraction_done():
    training, told = make_training(iterations=4), []
    training.algorithm.on_step = told.append
    Notes(training).run()
    assert told == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("algorithm", [MAML, ProtoNet])
def test_without_steps_the_untrained_model_is_evaluated(algorithm):
    training = make_training(algorithm, iterations=0)
    notes = Notes(training).run()
    assert [iteration for iteration, *_ in notes.validations] == [0]
    assert (len(notes.saved), training.progress.iteration) == (1, 0)
    assert checksum(training.best) == checksum(training.algorithm.state_dict())


def test_clipping_bounds_each_entry_of_the_meta_gradient():
    training = make_training(clip_grad=1e-4)
    training._step()
    largest = max(parameter.grad.abs().max().item() for parameter in training.algorithm.parameters())
    assert largest == pytest.approx(1e-4)


@pytest.mark.cross
@pytest.mark.parametrize("norm", ["batch", "running"])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError(NO_MEMORY)]
)
def test_out_of_memory_takes_fewer_tasks_at_once_with_the_same_numbers(error, norm, caplog):
    # With SGD: Adam would amplify the gradient of a bias before batch norm, which is only rounding.
    training, uninterrupted = (make_training(MAML, norm, meta_batch=8, outer_optimizer="sgd") for _ in range(2))
    meta_loss, asked = training.algorithm.meta_loss, []

    def small_memory(tasks):
        asked.append(len(tasks))
        loss = meta_loss(tasks)  # running statistics are updated before memory runs out
        if len(tasks) > 2:
            raise error
        return loss

    training.algorithm.meta_loss = small_memory
    for _ in range(2):
        training._step()
        uninterrupted._step()
    assert asked == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert "out of memory: training on 2 tasks at once from now on, not 4" in caplog.text
    assert training.state()["progress"]["at_once"] == 2, "or a resumed training would use other parts"
    torch.testing.assert_close(training._loss_sum, uninterrupted._loss_sum)
    ours, theirs = training.algorithm.state_dict(), uninterrupted.algorithm.state_dict()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def out_of_memory(tasks):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_task_that_does_not_fit_in_memory_fails_the_run():
    training = make_training()
    training.algorithm.meta_loss = out_of_memory
    with pytest.raises(RunFailed, match=r"one task does not fit in memory; lower `way` \(5\), `query`"):
        training._step()


def test_pretraining_is_not_split(monkeypatch):
    training = make_training(ProtoNet, meta_batch=4)
    monkeypatch.setattr(ProtoNet, "splittable", False)
    training.algorithm.meta_loss = out_of_memory
    with pytest.raises(RunFailed, match=r"a batch of train\.meta_batch=4 tasks does not fit in memory"):
        training._step()


def test_other_errors_pass_through():
    training = make_training()

    def broken(tasks):
        raise RuntimeError("a bug")

    training.algorithm.meta_loss = broken
    with pytest.raises(RuntimeError, match="a bug"):
        training._step()


def test_a_time_budget_ends_the_training():
    training = make_training(iterations=None, time_budget=0.5, validate_every=1000)
    Notes(training).run()
    assert 0.5 <= training.progress.seconds < 10
    assert training.progress.validated_at == training.progress.iteration > 0


def test_a_loss_of_nan_ends_the_training_with_a_message():
    training = make_training(iterations=100)
    nn.init.constant_(training.algorithm.head.weight, math.nan)
    with pytest.raises(RunFailed, match=r"meta-training loss became nan by step 2; lower `train\.outer_lr`"):
        Notes(training).run()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"iterations": None}, r"train\.iterations and train\.time_budget are both null; set one of them"),
        ({"iterations": -1}, r"train\.iterations=-1 but it cannot be negative; 0 evaluates the untrained model"),
        ({"meta_batch": 0}, r"train\.meta_batch=0 but it must be at least 1"),
        ({"validate_every": -1}, r"train\.validate_every=-1 but it must be at least 1"),
        ({"outer_optimizer": "lion"}, r"train\.outer_optimizer='lion' is not one of adam, sgd"),
        ({"lr_schedule": "none"}, r"train\.lr_schedule='none' is not one of step, linear, cosine"),
        ({"outer_lr": 0.0}, r"train\.outer_lr=0\.0 but it must be above 0"),
        ({"outer_lr_end": -0.1}, r"train\.outer_lr_end=-0\.1 but it cannot be negative"),
        ({"lr_decay": 0.0}, r"train\.lr_decay=0\.0 but it must be above 0 and at most 1"),
        ({"lr_decay": 1e300}, r"train\.lr_decay=1e\+300 but it must be above 0 and at most 1"),
        ({"validate_tasks": 10**9}, r"train\.validate_tasks=1,000,000,000 but at most 10,000,000 are possible"),
    ],
)
def test_an_invalid_schedule_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        Schedule(**{**SCHEDULE, **wrong})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("best", {}),
        ("algorithm", {"x": torch.zeros(1)}),
        ("optimizer", {"state": {}, "param_groups": []}),
        ("loss_sum", torch.zeros(3)),
        ("progress", {"iteration": -1}),
        ("progress", {"iteration": 1.5}),
        ("progress", {"seconds": float("nan")}),
        ("progress", {"curve": [1]}),
        ("over_tasks", {"x": "sideways"}),
    ],
)
def test_an_invalid_state_is_refused_at_once(key, value):
    training = make_training()
    Notes(training).run()
    state = copy.deepcopy(training.state())
    state[key] = {**state[key], **value} if key in ("progress", "over_tasks") else value
    with pytest.raises((RuntimeError, ValueError, KeyError), match=r"."):
        make_training().restore(state)


def test_the_optimiser_state_must_fit():
    training = make_training()
    Notes(training).run()
    state = copy.deepcopy(training.state())
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7)
    with pytest.raises(ValueError, match="its optimiser state is for another network"):
        make_training().restore(state)
