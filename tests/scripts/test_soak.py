"""The soak's own parts, and a soak of seconds: its figures come from real processes and are judged as promised."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from scripts.soak import amiss, trends, write
from scripts.soaking.processes import Look, look_at, processes_with, runs_of
from scripts.soaking.sweeps import ROOT, Place
from scripts.soaking.watcher import Seen, at_their_most, trend_of

pytestmark = pytest.mark.command


def seen(seconds: float, own: float, files: int = 5, pid: int = 1, role: str = "lasting sweep") -> Seen:
    return Seen(role, seconds, Look(pid, began=pid, own=own, resident=own, files=files, threads=1))


def test_a_process_is_seen_with_its_memory_and_open_files(tmp_path):
    before = "import sys; ballast, file = None, None; print(flush=True); sys.stdin.readline(); "
    code = (
        f"{before}ballast = bytearray(64 * 2**20); file = open(sys.argv[1], 'w'); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "open"], stdin=-1, stdout=-1, text=True) as process:
        process.stdout.readline()
        at_first = look_at(process.pid)
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        later = look_at(process.pid)
        process.communicate("")
    assert 60 < later.own - at_first.own < 80
    assert later.files == at_first.files + 1
    assert (later.pid, later.began) == (process.pid, at_first.began)
    assert look_at(2**22 + 1) is None


def test_a_run_is_known_by_its_parent_and_a_process_by_its_mark():
    code = "import sys; sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with (
        subprocess.Popen([*command, "hydra.mode=RUN"], stdin=-1, env={**os.environ, "A_MARK": "of mine"}) as run,
        subprocess.Popen(command, stdin=-1) as other,
    ):
        while run.pid not in runs_of(os.getpid()):  # until it is executed
            pass
        assert other.pid not in runs_of(os.getpid())
        assert processes_with("A_MARK", "of mine") == [run.pid]
    assert runs_of(os.getpid()) == []


def test_growth_is_told_from_the_quarters_and_leaves_out_the_first_for_its_slope():
    warming_up = [seen(second, 100 + second / 10) for second in range(900)]
    flat = [seen(second, 190) for second in range(900, 3601)]
    trend = trend_of([*warming_up, *flat], short_lived=False)
    assert (trend.first, trend.last, trend.per_hour) == (145.0, 190.0, 0.0)
    looks = [seen(second, 100 + second / 36, files=5 + second // 1000) for second in range(0, 3601, 4)]
    growing, at_most = (trend_of(looks, short_lived) for short_lived in (False, True))
    assert (growing.per_hour, growing.files_first, growing.files_last) == (100.0, 5, 8)
    assert (at_most.per_hour, at_most.files_first, at_most.files_last) == (100.0, 5, 8)
    assert (at_most.first, at_most.last) == (125.0, 200.0)
    assert trend_of([seen(0, 1)] * 3, short_lived=False) is None


def test_a_process_that_opens_a_file_for_a_moment_has_no_more_of_them():
    looks = [seen(second, 100, files=9 if second in (10, 90) else 5) for second in range(100)]
    assert trend_of(looks, short_lived=False).files_last == 5


def test_processes_that_live_for_seconds_count_once_at_their_most():
    looks = [seen(0, 10, pid=1), seen(1, 300, pid=1), seen(2, 20, pid=1), seen(3, 200, pid=2)]
    assert [(one.look.pid, one.look.own) for one in at_their_most(looks)] == [(1, 300), (2, 200)]
    of_runs = [seen(i, own, pid=i // 2, role="run of the killed sweep") for i, own in enumerate([1, 9] * 8)]
    assert trends(of_runs)["run of the killed sweep"]["first"] == 9


def test_samples_hold_looks_at_every_process_that_lasts(tmp_path):
    roles = ("lasting sweep", "many runs in one process")
    write({}, [seen(i, i, role=role) for i in range(2000) for role in roles], tmp_path)
    rows = (tmp_path / "samples.csv").read_text().splitlines()
    assert all(sum(role in row for row in rows) == 1000 for role in roles)


def found(**more) -> dict:
    empty = dict.fromkeys(("rows missing", "runs that outlived their sweep", "processes left"), 0)
    empty |= {"rows changed": {}, "tracebacks": [], "temporary files left": []}
    trend = {"first": 100.0, "last": 101.0, "files_first": 5, "files_last": 5}
    return {**empty, "exit codes of the lasting sweeps": {"lasting sweep": 143}, "memory": {"a": trend}, **more}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, []),
        ({"rows missing": 1}, ["rows missing: 1"]),
        (
            {"rows changed": {"a run": ["result.json: accuracy"]}},
            ["rows changed: {'a run': ['result.json: accuracy']}"],
        ),
        ({"processes left": 2}, ["processes left: 2"]),
        ({"exit codes of the lasting sweeps": {"lasting sweep": 1}}, ["lasting sweep ended with 1, not by SIGTERM"]),
        (
            {"memory": {"a": {"first": 100.0, "last": 111.0, "files_first": 5, "files_last": 6}}},
            ["a grew from 100.0 to 111.0 MiB", "a held 5 open files at first and 6 in the end"],
        ),
    ],
)
def test_what_should_not_be_is_said(more, sentence):
    assert amiss(found(**more), minutes=120) == sentence


def test_a_soak_of_minutes_says_nothing_of_memory():
    assert amiss(found(memory={"a": {"first": 1.0, "last": 9.0, "files_first": 1, "files_last": 9}}), minutes=1) == []


def test_what_a_soak_left_lying_about_is_found(tmp_path):
    place = Place(tmp_path / "soak", "mark")
    run = place.folder / "round0" / "runs" / "a"
    run.mkdir(parents=True)
    (run / ".result.json.tmp").touch()
    (run / "result.json").touch()
    killed = place.folder / "round0" / "runs" / "b"
    killed.mkdir()
    (killed / ".last.pt.tmp").touch()  # the next who takes the run up writes over it
    (place.folder / "tmp" / "forgotten").touch()
    assert [path.name for path in place.leftovers()] == [".result.json.tmp", "forgotten"]
    place.logs.append(place.folder / "logs" / "a.log")
    place.logs[0].write_text("Traceback (most recent call last):\n")
    assert place.tracebacks() == place.logs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_soak_of_seconds_kills_compares_and_finds_nothing_amiss(tmp_path):
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
