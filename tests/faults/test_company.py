"""Concurrent processes, with and without locks, and an unreliable clock."""

import errno
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.faults.bent import have_no_locks, stop_the_clock, turn_back_the_clock
from tests.faults.commands import Command, Ended
from tests.faults.conftest import TINY, assert_same_numbers, no_traceback, the_run, undisturbed

pytestmark = pytest.mark.command

WRITERS = 8


def at_once(commands: Sequence[Sequence[str]], folder: Path, before=None) -> list[Ended]:
    """Start commands at the same time and return how they ended."""
    started = [Command(words, folder, before) for words in commands]
    return [no_traceback(command.end()) for command in started]


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("no_locks", [None, errno.ENOLCK], ids=["locks", "no locks"])
def test_eight_processes_execute_one_run_once(no_locks, folder):
    alone, _ = undisturbed(TINY, folder / "undisturbed")
    place = folder / "together"
    place.mkdir()
    ends = at_once([TINY] * WRITERS, place, no_locks and partial(have_no_locks, no_locks))
    assert [(ended.code, ended.err) for ended in ends] == [(0, "")] * WRITERS
    assert_same_numbers(the_run(place), alone)
    assert (the_run(place) / "run.log").read_text().count("meta-training ") == 1
    rows = {ended.out[ended.out.index("maml on sinusoid") :] for ended in ends}
    assert len(rows) == 1, "all show the same record"
    waited = [ended.out for ended in ends if "another process is running" in ended.out]
    assert waited
    assert all(("This file system has no locks" in out) == bool(no_locks) for out in waited)
    assert not list(the_run(place).glob(".lock.*"))


@pytest.mark.slow
@pytest.mark.sampled
def test_eight_concurrent_runs_are_the_same_as_alone(folder):
    commands = [[*TINY, f"seed={seed}"] for seed in range(WRITERS)]
    alone, _ = undisturbed(commands[3], folder / "undisturbed")
    place = folder / "together"
    place.mkdir()
    assert [ended.code for ended in at_once(commands, place)] == [0] * WRITERS
    runs = list((place / "results" / "runs").glob("*"))
    assert len(runs) == WRITERS
    assert_same_numbers(next(run for run in runs if run.name == alone.name), alone)


@pytest.mark.slow
@pytest.mark.sampled
def test_eight_processes_of_an_invalid_run_all_report_it(folder):
    ends = at_once([[*TINY, "train.meta_batch=0"]] * WRITERS, folder)
    assert {(ended.code, ended.err) for ended in ends} == {(2, ends[0].err)}
    assert "train.meta_batch" in ends[0].err
    assert not list((folder / "results" / "runs").glob("*"))


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_can_be_used(number, folder, run):
    ended = run(*TINY, before=partial(have_no_locks, number))
    assert (ended.code, ended.err) == (0, "")
    assert json.loads((the_run(folder) / "result.json").read_text())["status"] == "done"


@pytest.mark.slow
@pytest.mark.sampled
def test_a_clock_that_jumps_back_changes_no_number_and_no_duration(folder):
    alone, _ = undisturbed(TINY, folder / "undisturbed")
    place = folder / "jumping"
    place.mkdir()
    (ended,) = at_once([TINY], place, partial(turn_back_the_clock, 3600))
    assert (ended.code, ended.err) == (0, "")
    assert_same_numbers(the_run(place), alone)
    row = json.loads((the_run(place) / "result.json").read_text())
    for key in ("train_seconds", "test_seconds", "adapt_ms", "tasks_per_second"):
        assert 0 < row[key] < 1e4, key


@pytest.mark.slow
@pytest.mark.sampled
def test_two_sweeps_in_the_same_second_have_separate_folders(folder):
    words = [*TINY, "-m", "hydra/launcher=one_process"]
    (first,) = at_once([[*words, "seed=0,1"]], folder, partial(stop_the_clock, "2026-11-24 12:00:00.000001"))
    (second,) = at_once([[*words, "seed=2,3,4"]], folder, partial(stop_the_clock, "2026-11-24 12:00:00.000002"))
    assert (first.code, second.code) == (0, 0)
    folders = sorted((folder / "results" / "sweeps").iterdir())
    assert [path.name for path in folders] == ["2026-11-24_12-00-00_000001", "2026-11-24_12-00-00_000002"]
    assert [len((path / "table.csv").read_text().splitlines()) for path in folders] == [3, 4]
    assert all((path / "multirun.yaml").is_file() for path in folders)
