"""Sweeps in the process pool: a run that fails or is killed does not affect the others."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from metarun.sweeps.job import Job
from tests.support.commands import run_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ["train.validate_every=20", "train.validate_tasks=4", "test.tasks=8", "backbone.filters=8"]
TWO = "hydra.launcher.n_jobs=2"
LONG = [*SMALL, TWO, "train.iterations=250"]
SHORT = [*SMALL, TWO, "train.iterations=4"]


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def sweep(*words: str, flags: Sequence[str] = ("-m",)) -> subprocess.CompletedProcess[str]:
    return run_process("train", *flags, *words, timeout=500)


def started(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "metarun", "train", "-m", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(parent: int) -> list[int]:
    """The living child processes of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == parent and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.1)


def rows() -> dict[int, dict]:
    read = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {row.get("seed", row["id"]): row for row in read if row["status"] == "done"}


def saved() -> bool:
    return len(list(Path("results/runs").glob("*/last.pt"))) >= 2


def test_a_sweep_under_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    done = sweep("seed=0,1")
    assert done.returncode == 2
    assert done.stderr == (
        "metarun: error: a sweep cannot run under torchrun, which splits a single run; omit torchrun, or -m.\n"
    )


def test_a_sweep_writes_a_row_per_run_and_a_table():
    done = sweep("+sweep=seeds", "algo=protonet", *SHORT, flags=())  # the same as -m seed=range(3)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(rows()) == {0, 1, 2}
    (folder,) = Path("results/sweeps").iterdir()
    assert len(pd.read_csv(folder / "table.csv")) == 3
    assert "| protonet |" in " ".join((folder / "table.md").read_text().split())
    assert f"→ {folder}" in done.stdout
    assert "[1: seed=1] meta-training protonet-glyphs" in done.stdout
    again = sweep("algo=protonet", "seed=range(3)", "hydra.sweep.dir=results/sweeps/named", *SHORT)
    assert again.returncode == 0
    assert Path("results/sweeps/named/table.csv").is_file()
    assert again.stdout.count("Already finished") == 3


@pytest.mark.sampled
def test_a_failed_run_is_reported_and_the_others_finish():
    words = ["algo=maml", "seed=0,1", "algo.inner_lr=0.1,1e30", *SHORT]
    done = sweep(*words)
    assert done.returncode == 1
    assert len(rows()) == 2
    assert done.stderr.count("the meta-training loss became") == 2
    assert "2 of 4 runs failed; add retry_failed=true to repeat only these" in done.stderr
    assert sweep(*words).stderr.count("this run failed before") == 2
    assert sweep(*words, "retry_failed=true").stderr.count("this run failed before") == 0


@pytest.mark.sampled
def test_a_killed_run_does_not_affect_the_others_and_the_same_command_resumes_it():
    parent = started("algo=protonet", "seed=range(3)", *LONG)
    wait_for(saved)
    os.kill(children(parent.pid)[0], signal.SIGKILL)
    _, stderr = parent.communicate(timeout=400)
    assert parent.returncode == 1
    assert len(rows()) == 2
    assert "killed by SIGKILL, perhaps out of memory" in stderr
    assert sweep("algo=protonet", "seed=range(3)", *LONG).returncode == 0
    assert set(rows()) == {0, 1, 2}


def test_a_run_without_enough_memory_is_reported_and_does_not_affect_the_others():
    words = ["-m", "algo=protonet", *SMALL[:3], "backbone.filters=8,6000", "train.iterations=4"]
    done = subprocess.run(
        [sys.executable, "-m", "metarun", "train", *words],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30)),
    )
    assert done.returncode == 1
    assert len(rows()) == 1
    assert "[backbone.filters=6000] out of memory with conv4 on these tasks; lower" in done.stderr


@pytest.mark.sampled
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_runs_end_with_their_sweep_and_the_same_command_reproduces_their_numbers(number, code):
    parent = started("algo=protonet", "seed=range(2)", *LONG)
    wait_for(saved)
    orphans = children(parent.pid)
    assert len(orphans) == 2
    parent.send_signal(number)
    _, stderr = parent.communicate(timeout=30)
    assert parent.returncode == code
    if number != signal.SIGKILL:
        assert stderr == "metarun: stopped; rerun the same command to resume.\n"
    wait_for(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in orphans), 20)
    assert not rows()

    resumed = sweep("algo=protonet", "seed=range(2)", *LONG)
    assert resumed.returncode == 0
    assert "resuming from step" in resumed.stdout
    found = {seed: row["accuracy_by_step"] for seed, row in rows().items()}
    assert sweep("algo=protonet", "seed=range(2)", *LONG, "force=true").returncode == 0
    assert {seed: row["accuracy_by_step"] for seed, row in rows().items()} == found


def test_a_job_has_the_reason_of_its_failure():
    job = Job(3, ["algo=maml"], "algo=maml", code=-9)
    assert job.reason == "killed by SIGKILL, perhaps out of memory"
    job.code = -11
    assert job.reason == "killed by SIGSEGV"
    job.code = -35  # without a name in Python
    assert job.reason == "killed by signal 35"
    job.update({"event": "failed", "reason": "no."})
    job.update({"event": "finished", "path": "results/runs/a b"})
    assert (job.reason, job.path) == ("no.", Path("results/runs/a b"))
    assert Job(3, [], "", code=1, stderr=deque(["Traceback", "KeyError: 3"])).reason == "KeyError: 3"
    assert Job(3, [], "", code=1).reason == "exit code 1"
