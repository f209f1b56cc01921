"""Helpers for tests of faults."""

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from metarun.results.bitwise_diff import compare_numbers, read_numbers
from metarun.results.run_directory import RunDirectory
from tests.faults.commands import Command, Ended, metarun

Item = TypeVar("Item")

SEED = 20261124
SHARE = float(os.environ.get("FAULTS_SHARE", "1"))  # of the faults of `make faults`; smaller in CI
# A run of a second.
TINY = ["train", "algo=maml", "data=sinusoid", "task=10points", "backbone=mlp", "train.iterations=4"]
TINY += ["train.validate_every=2", "train.validate_tasks=2", "test.tasks=4", "test.steps=1"]


@pytest.fixture
def instants() -> random.Random:
    """Random numbers for the times of faults, the same in every run."""
    return random.Random(SEED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder of commands."""
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., Ended]:
    """Run a command in `folder` until it ends; it must not print a traceback."""

    def run_command(*words: str, before: Callable[[], None] | None = None) -> Ended:
        return no_traceback(metarun(*words, folder=folder, before=before))

    return run_command


def no_traceback(ended: Ended) -> Ended:
    """Return how a command ended; fail if it printed a traceback."""
    assert "Traceback" not in ended.out + ended.err, ended.err
    assert "Logging error" not in ended.err, ended.err
    return ended


def undisturbed(words: list[str], folder: Path, noisy: str = "") -> tuple[Path, float]:
    """Execute a run without faults; return its directory and CPU seconds."""
    folder.mkdir()
    (folder / "noisy.py").write_text(noisy)
    command = Command(words, folder)
    command.wait()
    seconds, ended = command.cpu_seconds, no_traceback(command.end())
    assert ended.code == 0, ended.err
    return the_run(folder), seconds


def the_run(folder: Path, pattern: str = "*") -> Path:
    """Return the only run."""
    (path,) = (folder / "results" / "runs").glob(pattern)
    return path


def assert_same_numbers(run: Path, undisturbed: Path) -> None:
    """Check that all numbers except timings are bitwise equal."""
    assert compare_numbers(read_numbers(RunDirectory(undisturbed)), read_numbers(RunDirectory(run))) == []
    drawn = [path for name in ("examples", "paths", "poses") if (path := undisturbed / f"{name}.npz").is_file()]
    assert drawn, "what the report draws"
    assert all((run / path.name).read_bytes() == path.read_bytes() for path in drawn)


def share_of(items: Iterable[Item], instants: random.Random) -> list[Item]:
    """Return a random share (SHARE) of the items."""
    all_items = list(items)
    return instants.sample(all_items, round(SHARE * len(all_items)))


def killed_repeatedly(
    words: list[str], folder: Path, choose: Callable[[], tuple[float, int]], max_kills: int
) -> list[Ended]:
    """Start a command repeatedly and kill it each time after some CPU seconds, until it ends by itself.

    Args:
        words: of the command.
        folder: the current folder.
        choose: returns the CPU seconds and the signal of the next kill.
        max_kills: the maximal number of kills.

    Returns:
        How each attempt ended.
    """
    ends: list[Ended] = []
    while not ends or ends[-1].code != 0:
        command = Command(words, folder)
        if len(ends) < max_kills:
            seconds, number = choose()
            command.wait(cpu_seconds=seconds)
            command.kill(number)
        ends.append(no_traceback(command.end()))
    return ends
