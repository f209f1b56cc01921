"""What tests of faults share."""

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from metarun.results.bitwise_diff import differences, numbers
from metarun.results.run_directory import RunDirectory
from tests.faults.commands import Command, Ended, metarun

Item = TypeVar("Item")

SEED = 20261124
SHARE = float(os.environ.get("FAULTS_SHARE", "1"))  # of the faults that `make faults` tries, which CI tries fewer of
# A run of a second.
TINY = ["train", "algo=maml", "data=sinusoid", "task=10points", "backbone=mlp", "train.iterations=4"]
TINY += ["train.validate_every=2", "train.validate_tasks=2", "test.tasks=4", "test.steps=1"]


@pytest.fixture
def instants() -> random.Random:
    """Where the instants of a test's faults come from: the same ones every time."""
    return random.Random(SEED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where commands are run."""
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., Ended]:
    """Run a command to its end in `folder`; whatever became of it, it showed no traceback."""

    def run_to_its_end(*words: str, before: Callable[[], None] | None = None) -> Ended:
        return without_traceback(metarun(*words, folder=folder, before=before))

    return run_to_its_end


def without_traceback(ended: Ended) -> Ended:
    """Return how a command ended; a fault is told in a sentence."""
    assert "Traceback" not in ended.out + ended.err, ended.err
    assert "Logging error" not in ended.err, ended.err
    return ended


def undisturbed(words: list[str], folder: Path, noisy: str = "") -> tuple[Path, float]:
    """Return the run of a config as nobody disturbs it, and the seconds of work that it takes."""
    folder.mkdir()
    (folder / "noisy.py").write_text(noisy)
    command = Command(words, folder)
    command.wait()
    seconds, ended = command.worked, without_traceback(command.end())
    assert ended.code == 0, ended.err
    return the_run(folder), seconds


def the_run(folder: Path, pattern: str = "*") -> Path:
    """Return the only run that there is."""
    (path,) = (folder / "results" / "runs").glob(pattern)
    return path


def assert_same_numbers(run: Path, undisturbed: Path) -> None:
    """Every number but the timings is the other run's, to the bit."""
    assert differences(numbers(RunDirectory(undisturbed)), numbers(RunDirectory(run))) == []
    assert (run / "examples.npz").read_bytes() == (undisturbed / "examples.npz").read_bytes()


def share_of(items: Iterable[Item], instants: random.Random) -> list[Item]:
    """Return as many of some items as SHARE says, at random."""
    all_items = list(items)
    return instants.sample(all_items, round(SHARE * len(all_items)))


def killed_again_and_again(
    words: list[str], folder: Path, choose: Callable[[], tuple[float, int]], most: int
) -> list[Ended]:
    """Start a command again and again, killed each time after some seconds of work, until it ends by itself.

    Args:
        words: of the command.
        folder: where it is run.
        choose: says after how many seconds, and by which signal.
        most: kills, after which it is left alone.

    Returns:
        How it ended every time.
    """
    ends: list[Ended] = []
    while not ends or ends[-1].code != 0:
        command = Command(words, folder)
        if len(ends) < most:
            seconds, number = choose()
            command.wait(worked=seconds)
            command.kill(number)
        ends.append(without_traceback(command.end()))
    return ends
