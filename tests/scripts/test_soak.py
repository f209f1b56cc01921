"""Tests of the soak test: its parts, and a soak of seconds with real processes."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from scripts.soak import problems, trends, write
from scripts.soaking.processes import ProcessState, processes_with, read_state, runs_of
from scripts.soaking.sweeps import ROOT, Workspace
from scripts.soaking.watcher import Sample, peak_samples, trend_of

pytestmark = pytest.mark.command


def sample(seconds: float, own: float, files: int = 5, pid: int = 1, role: str = "lasting sweep") -> Sample:
    return Sample(role, seconds, ProcessState(pid, began=pid, own=own, resident=own, files=files, threads=1))


def test_read_state_reports_memory_and_open_files(tmp_path):
    before = "import sys; ballast, file = None, None; print(flush=True); sys.stdin.readline(); "
    code = (
        f"{before}ballast = bytearray(64 * 2**20); file = open(sys.argv[1], 'w'); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "open"], stdin=-1, stdout=-1, text=True) as process:
        process.stdout.readline()
        at_first = read_state(process.pid)
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        later = read_state(process.pid)
        process.communicate("")
    assert 60 < later.own - at_first.own < 80
    assert later.files == at_first.files + 1
    assert (later.pid, later.began) == (process.pid, at_first.began)
    assert read_state(2**22 + 1) is None


def test_runs_are_found_by_parent_and_processes_by_environment_variable():
    code = "import sys; sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with (
        subprocess.Popen([*command, "hydra.mode=RUN"], stdin=-1, env={**os.environ, "A_MARK": "of mine"}) as run,
        subprocess.Popen(command, stdin=-1) as other,
    ):
        while run.pid not in runs_of(os.getpid()):  # until it has started
            pass
        assert other.pid not in runs_of(os.getpid())
        assert processes_with("A_MARK", "of mine") == [run.pid]
    assert runs_of(os.getpid()) == []


def test_trend_compares_quarters_and_ignores_the_first_for_its_slope():
    warming_up = [sample(second, 100 + second / 10) for second in range(900)]
    flat = [sample(second, 190) for second in range(900, 3601)]
    trend = trend_of([*warming_up, *flat], short_lived=False)
    assert (trend.first, trend.last, trend.per_hour) == (145.0, 190.0, 0.0)
    samples = [sample(second, 100 + second / 36, files=5 + second // 1000) for second in range(0, 3601, 4)]
    growing, at_most = (trend_of(samples, short_lived) for short_lived in (False, True))
    assert (growing.per_hour, growing.files_first, growing.files_last) == (100.0, 5, 8)
    assert (at_most.per_hour, at_most.files_first, at_most.files_last) == (100.0, 5, 8)
    assert (at_most.first, at_most.last) == (125.0, 200.0)
    assert trend_of([sample(0, 1)] * 3, short_lived=False) is None


def test_trend_ignores_briefly_opened_files():
    samples = [sample(second, 100, files=9 if second in (10, 90) else 5) for second in range(100)]
    assert trend_of(samples, short_lived=False).files_last == 5


def test_short_lived_processes_count_once_with_their_peak_memory():
    samples = [sample(0, 10, pid=1), sample(1, 300, pid=1), sample(2, 20, pid=1), sample(3, 200, pid=2)]
    assert [(peak.state.pid, peak.state.own) for peak in peak_samples(samples)] == [(1, 300), (2, 200)]
    of_runs = [sample(i, own, pid=i // 2, role="run of the killed sweep") for i, own in enumerate([1, 9] * 8)]
    assert trends(of_runs)["run of the killed sweep"]["first"] == 9


def test_written_samples_include_every_lasting_process(tmp_path):
    roles = ("lasting sweep", "many runs in one process")
    write({}, [sample(i, i, role=role) for i in range(2000) for role in roles], tmp_path)
    rows = (tmp_path / "samples.csv").read_text().splitlines()
    assert all(sum(role in row for row in rows) == 1000 for role in roles)


def found(**more) -> dict:
    empty = dict.fromkeys(("rows missing", "runs that outlived their sweep", "processes left"), 0)
    empty |= {"rows changed": {}, "tracebacks": [], "temporary files left": []}
    trend = {"first": 100.0, "last": 101.0, "files_first": 5, "files_last": 5}
    return {**empty, "exit codes of the lasting sweeps": {"lasting sweep": 143}, "memory": {"a": trend}, **more}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, []),
        ({"rows missing": 1}, ["rows missing: 1"]),
        (
            {"rows changed": {"a run": ["result.json: accuracy"]}},
            ["rows changed: {'a run': ['result.json: accuracy']}"],
        ),
        ({"processes left": 2}, ["processes left: 2"]),
        (
            {"exit codes of the lasting sweeps": {"lasting sweep": 1}},
            ["lasting sweep exited with 1 instead of stopping on SIGTERM"],
        ),
        (
            {"memory": {"a": {"first": 100.0, "last": 111.0, "files_first": 5, "files_last": 6}}},
            ["a grew from 100.0 to 111.0 MiB", "a had 5 open files at first and 6 at the end"],
        ),
    ],
)
def test_problems_are_reported(more, expected):
    assert problems(found(**more), minutes=120) == expected


def test_a_short_soak_does_not_check_memory():
    assert (
        problems(found(memory={"a": {"first": 1.0, "last": 9.0, "files_first": 1, "files_last": 9}}), minutes=1) == []
    )


def test_leftover_files_and_tracebacks_are_found(tmp_path):
    workspace = Workspace(tmp_path / "soak", "mark")
    run = workspace.folder / "round0" / "runs" / "a"
    run.mkdir(parents=True)
    (run / ".result.json.tmp").touch()
    (run / "result.json").touch()
    killed = workspace.folder / "round0" / "runs" / "b"
    killed.mkdir()
    (killed / ".last.pt.tmp").touch()  # overwritten when the run is resumed
    (workspace.folder / "tmp" / "forgotten").touch()
    assert [path.name for path in workspace.leftovers()] == [".result.json.tmp", "forgotten"]
    workspace.logs.append(workspace.folder / "logs" / "a.log")
    workspace.logs[0].write_text("Traceback (most recent call last):\n")
    assert workspace.tracebacks() == workspace.logs


@pytest.mark.sampled
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_soak_of_seconds_finds_no_problems(tmp_path):
    command = [sys.executable, "-m", "scripts.soak", "--minutes", "0.4", "--between", "4", "--compare", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, check=False, capture_output=True, text=True, timeout=580
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert sum(figures["kills"].values()) >= 1
    assert figures["runs of the killed sweep"] == 2 * figures["rounds"]
    assert figures["rows compared"] == figures["rounds"]
    assert figures["amiss"] == []
    assert "many runs in one process" in figures["memory"]
    samples = pd.read_csv(tmp_path / "samples.csv")
    assert set(samples["role"]) >= {"lasting sweep", "many runs in one process", "run of the killed sweep"}
    assert samples["own_mib"].max() > 100
