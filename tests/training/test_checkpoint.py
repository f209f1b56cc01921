"""Checkpoints are verified by their checksum; the newest valid one is used to resume."""

import logging
import os
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.errors import UserError
from metarun.training import checkpoint

STATE = {
    "run": "12345678",
    "algorithm": {"weight": torch.arange(6.0).reshape(2, 3), "calls": torch.tensor(7)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]},
    "progress": {"iteration": 3, "best_score": -float("inf"), "curve": [{"loss": 0.5, "accuracy": None}]},
}


def changed(**entries):
    return {**STATE, **entries}


def test_a_saved_state_is_loaded_unchanged(tmp_path):
    checkpoint.save(tmp_path / "last.pt", STATE)
    state = checkpoint.load(tmp_path / "last.pt", "12345678")
    assert checkpoint.checksum(state) == checkpoint.checksum(STATE)
    assert state["progress"] == STATE["progress"]
    assert torch.equal(state["algorithm"]["weight"], STATE["algorithm"]["weight"])


def test_a_checkpoint_can_be_read_with_torch_load(tmp_path):
    checkpoint.save(tmp_path / "best.pt", STATE)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["progress"]["iteration"] == 3


@pytest.mark.parametrize(
    "other",
    [
        changed(run="87654321"),
        changed(algorithm={"weight": torch.arange(6.0).reshape(3, 2), "calls": torch.tensor(7)}),
        changed(algorithm={"weight": torch.arange(6).reshape(2, 3), "calls": torch.tensor(7)}),
        changed(algorithm={"calls": torch.tensor(7), "bias": torch.arange(6.0).reshape(2, 3)}),
        changed(progress={**STATE["progress"], "iteration": 4}),
        changed(progress={**STATE["progress"], "best_score": None}),
        changed(more=[]),
    ],
    ids=["run", "shape", "type", "name", "number", "none", "entry"],
)
def test_the_checksum_covers_the_whole_state(other):
    assert checkpoint.checksum(other) != checkpoint.checksum(STATE)


def test_the_checksum_does_not_depend_on_the_memory_format():
    images = torch.randn(2, 3, 4, 4)
    lying_otherwise = images.to(memory_format=torch.channels_last)
    assert checkpoint.checksum({"x": lying_otherwise}) == checkpoint.checksum({"x": images})
    half = images.to(torch.bfloat16)
    assert checkpoint.checksum({"x": half}) != checkpoint.checksum({"x": images})


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_is_detected_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "last.pt"
    checkpoint.save(path, STATE)
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "zeros"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[at:]
    else:
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    path.write_bytes(content)
    try:
        state = checkpoint.load(path, "12345678")
    except UserError:
        return
    assert checkpoint.checksum(state) == checkpoint.checksum(STATE)


def test_other_checkpoints_are_refused(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(STATE, path)
    with pytest.raises(
        UserError, match=r"last.pt has no checksum, so it was not created by this version of metarun; delete it"
    ):
        checkpoint.load(path, "12345678")
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="has no checksum"):
        checkpoint.load(path, "12345678")
    torch.save({**STATE, "checksum": "0" * 64}, path)
    with pytest.raises(UserError, match="does not match its checksum"):
        checkpoint.load(path, "12345678")
    checkpoint.save(path, STATE)
    with pytest.raises(UserError, match=r"last.pt belongs to run 12345678, not to abcdefab"):
        checkpoint.load(path, "abcdefab")
    with pytest.raises(UserError, match=r"gone.pt is missing; run the same command with `force=true`"):
        checkpoint.load(tmp_path / "gone.pt", "12345678")


class Malice:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_code_in_a_checkpoint_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**STATE, "checksum": Malice()}, "last.pt")
    with pytest.raises(UserError, match=r"last.pt cannot be read \(UnpicklingError\)"):
        checkpoint.load(tmp_path / "last.pt", "12345678")
    assert not (tmp_path / "executed").exists()


def test_the_previous_checkpoint_replaces_a_damaged_one(tmp_path, caplog):
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    for iteration in (1, 2, 3):
        checkpoint.save(last, changed(progress={"iteration": iteration}), previous)

    def iteration():
        state = checkpoint.load_newest([last, previous], "12345678")
        return state and state["progress"]["iteration"]

    assert (iteration(), caplog.messages) == (3, [])
    last.write_bytes(last.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        assert iteration() == 2
    assert caplog.messages == [f"{last} cannot be read (RuntimeError)"]
    last.unlink()  # as if the power went between the two renamings
    assert iteration() == 2
    previous.write_bytes(b"")
    assert iteration() is None


class Slow:
    """A writer that waits until it may finish."""

    def __init__(self):
        self.started, self.may_finish, self.written = threading.Event(), threading.Event(), []

    def __call__(self, state):
        self.started.set()
        self.may_finish.wait(10)
        if state["iteration"] < 0:
            raise UserError("last.pt cannot be written (No space left on device)", "fix this.")
        self.written.append(state["iteration"])


def test_submitting_does_not_wait_and_the_newest_state_is_written():
    slow = Slow()
    writer = checkpoint.BackgroundWriter(slow)
    for iteration in range(5):
        writer.submit({"iteration": iteration})
        slow.started.wait(10)
    assert slow.written == []
    slow.may_finish.set()
    writer.finish()
    assert slow.written == [0, 4], "the states between are skipped"


def test_a_state_that_cannot_be_written_is_a_warning_unless_it_is_the_last(caplog):
    slow = Slow()
    slow.may_finish.set()
    writer = checkpoint.BackgroundWriter(slow)
    writer.submit({"iteration": -1})
    with pytest.raises(UserError, match="No space left on device"):
        writer.finish()
    assert caplog.messages == [
        "last.pt cannot be written (No space left on device); meta-training continues and will try again"
    ]
    writer.submit({"iteration": 1})
    writer.finish()
    assert slow.written == [1]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.zeros(1).expand(10**12), "ValueError"),
        (torch.zeros(3, 3).to_sparse(), "NotImplementedError"),
    ],
    ids=["claims 4 TB", "sparse"],
)
def test_an_unusual_tensor_is_refused_before_it_takes_memory(tmp_path, value, kind):
    torch.save({**STATE, "more": value, "checksum": "0" * 64}, tmp_path / "last.pt")
    with pytest.raises(UserError, match=rf"last.pt is not a valid checkpoint \({kind}\)"):
        checkpoint.load(tmp_path / "last.pt", "12345678")


def test_recursive_lists_are_refused(tmp_path):
    endless = []
    endless.append(endless)
    torch.save({**STATE, "more": endless, "checksum": "0" * 64}, tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"last.pt is not a valid checkpoint \(RecursionError\)"):
        checkpoint.load(tmp_path / "last.pt", "12345678")
