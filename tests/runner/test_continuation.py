"""A longer run continues a shorter one of the same training, bitwise equal to a run from the start."""

import json
from pathlib import Path

import pytest
import torch

from metarun.algorithms import ProtoNet
from metarun.results.bitwise_diff import compare_numbers, read_numbers
from metarun.results.run_directory import RunDirectory
from metarun.runner.continuation import length_dependence
from metarun.training import checkpoint
from tests.support.synthetic import make_conv4

SMALL = [
    *("algo=protonet", "train.validate_every=2", "train.validate_tasks=4", "train.meta_batch=1", "train.way=5"),
    *("test.tasks=4", "backbone.filters=4"),
]


class Ageing(ProtoNet):
    """A ProtoNet that uses the fraction of training done."""

    def on_step(self, fraction):
        self.fraction = fraction


class Unlucky(ProtoNet):
    """A ProtoNet whose loss is NaN from its fourth task on."""

    def meta_loss(self, tasks):
        self.seen = getattr(self, "seen", 0) + 1
        return super().meta_loss(tasks) * (float("nan") if self.seen > 3 else 1.0)


@pytest.fixture
def train(metarun):
    """Train in this process; return the exit code, the output, and the run's directory."""

    def run(steps, *words, results="results"):
        before = set(Path(results, "runs").glob("*"))
        code, *said = metarun("train", *SMALL, f"train.iterations={steps}", f"results_dir={results}", *words)
        made = set(Path(results, "runs").glob("*")) - before
        return code, "".join(said), RunDirectory(made.pop()) if made else None

    return run


def content(run: RunDirectory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.path.iterdir())}


@pytest.mark.parametrize(
    "words", [[], pytest.param(["algo=maml", "train.lr_decay=0.5", "train.lr_decay_every=3"], marks=pytest.mark.slow)]
)
def test_a_continued_run_is_bitwise_equal_to_one_from_the_start(train, words):
    _, _, shorter = train(4, *words)
    before = content(shorter)
    _, printed, longer = train(8, *words)
    assert f"continuing from step 4 of {shorter.path.name}, which is the same training up to there" in printed
    assert content(shorter) == before
    _, printed, anew = train(8, *words, results="anew")
    assert "continuing" not in printed
    assert compare_numbers(read_numbers(anew), read_numbers(longer)) == []
    ours, theirs = (torch.load(run.last, weights_only=True) for run in (longer, anew))
    assert all(torch.equal(ours["algorithm"][name], theirs["algorithm"][name]) for name in theirs["algorithm"])
    rows = [run.read_result() for run in (shorter, longer)]
    assert rows[1]["train_seconds"] > rows[0]["train_seconds"], "the seconds of both are added"
    came_from = json.loads(longer.environment.read_text())["continued_from"]
    assert (came_from["run"], came_from["step"]) == (shorter.id, 4)
    assert came_from["environment"] == json.loads(shorter.environment.read_text())


@pytest.mark.slow
def test_the_longest_run_with_the_same_config_is_continued(train):
    _, _, first = train(2)
    _, _, second = train(4)
    train(6, "seed=1")
    _, printed, _ = train(8)
    assert f"continuing from step 4 of {second.path.name}" in printed
    assert first.path.name not in printed


@pytest.mark.slow
def test_a_shorter_run_does_not_continue_a_longer_one_and_force_starts_over(train):
    _, _, longer = train(4)
    assert "continuing" not in train(2)[1]
    assert "continuing" not in train(4, "force=true")[1]
    assert longer.read_result()["iterations"] == 4


@pytest.mark.parametrize(
    ("train", "method", "reason"),
    [
        ({"lr_schedule": "cosine"}, ProtoNet, "train.lr_schedule=cosine depends on the length of the training"),
        ({"lr_schedule": "linear"}, ProtoNet, "train.lr_schedule=linear depends on the length of the training"),
        ({"time_budget": "1h"}, ProtoNet, "train.time_budget=1h depends on time"),
        ({}, Ageing, "Ageing depends on the length of the training"),
        ({}, ProtoNet, None),
    ],
)
def test_some_trainings_depend_on_their_length(train, method, reason):
    config = {"train": {"lr_schedule": "step", "time_budget": None, **train}}
    assert length_dependence(config, method(make_conv4())) == reason


@pytest.mark.slow
def test_a_training_that_depends_on_its_length_starts_over_and_logs_why(train):
    _, _, shorter = train(2, "train.lr_schedule=cosine")
    _, printed, _ = train(4, "train.lr_schedule=cosine")
    told = (
        "trained 2 steps of this config, but train.lr_schedule=cosine depends on the length of the training; training"
    )
    assert f"{shorter.path.name} {told}" in printed
    assert "continuing" not in printed


@pytest.mark.slow
def test_a_run_with_an_unscheduled_last_validation_is_not_continued(train):
    _, _, shorter = train(3)
    _, printed, _ = train(4)
    assert f"{shorter.path.name} is a shorter run of this config but cannot be continued: it validated at step 3" in (
        printed
    )


@pytest.mark.slow
def test_a_shorter_run_that_diverged_is_not_continued(train):
    code, _, shorter = train(4, "algo._target_=tests.runner.test_continuation.Unlucky")
    assert code == 1
    _, printed, _ = train(6, "algo._target_=tests.runner.test_continuation.Unlucky")
    assert (
        f"{shorter.path.name} is a shorter run of this config but cannot be continued: it failed (the meta" in printed
    )


def drop(run: RunDirectory) -> None:
    run.last.unlink()


def cut(run: RunDirectory) -> None:
    run.last.write_bytes(run.last.read_bytes()[:1000])


def of_another(run: RunDirectory) -> None:
    state = torch.load(run.last, weights_only=True)
    torch.save({**state, "run": "ffffffff"}, run.last)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "reason"), [(drop, "last.pt is missing"), (cut, "last.pt cannot be read"), (of_another, "last.pt")]
)
def test_with_an_unusable_checkpoint_the_run_starts_from_the_beginning(train, damage, reason):
    _, _, shorter = train(2)
    _, _, undisturbed = train(4, results="anew")
    damage(shorter)
    code, printed, run = train(4)
    assert code == 0
    assert f"cannot be continued: {shorter.path}/{reason}" in printed
    assert compare_numbers(read_numbers(undisturbed), read_numbers(run)) == []


@pytest.mark.slow
def test_a_checkpoint_of_another_network_has_no_effect(train):
    _, _, shorter = train(2)
    _, _, other = train(2, "backbone.filters=8", results="other")
    _, _, undisturbed = train(4, results="anew")
    state = torch.load(other.last, weights_only=True)
    state.pop("checksum")
    checkpoint.save(shorter.last, {**state, "run": shorter.id})
    code, printed, run = train(4)
    assert (code, "does not fit this run" in printed) == (0, True)
    assert compare_numbers(read_numbers(undisturbed), read_numbers(run)) == []


@pytest.mark.slow
def test_an_unfinished_run_is_not_continued(train):
    _, _, shorter = train(2)
    shorter.result.unlink()
    _, printed, _ = train(4)
    assert "continu" not in printed
