"""Sweeps on a real Slurm: a killed run, a time limit with a requeue, and a resumed sweep."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.sweeps.test_launchers import processes_of
from tests.sweeps.test_pool import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]
SMALL = ["algo=protonet", "train.validate_every=20", "train.validate_tasks=4", "test.tasks=8", "backbone.filters=8"]


@pytest.fixture
def sweep(slurm, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "metarun", "train", "-m", *SLURM, *SMALL, *words]
        return subprocess.Popen(command, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def rows() -> dict[int, dict]:
    read = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return {row["seed"]: row for row in read if row["status"] == "done"}


def test_a_killed_run_affects_no_other_and_the_same_sweep_finishes_it(sweep):
    words = ["seed=range(3)", "train.iterations=200"]
    first = sweep(*words)
    wait_for(lambda: list(Path("results/runs").glob("*/last.pt")) and processes_of("seed=0"))
    os.kill(processes_of("seed=0")[0], signal.SIGKILL)
    printed, complaint = first.communicate(timeout=300)
    assert first.returncode == 1, printed + complaint
    assert set(rows()) == {1, 2}
    assert "[seed=0] killed by SIGKILL" in complaint
    again = sweep(*words)
    printed, complaint = again.communicate(timeout=300)
    assert (again.returncode, complaint) == (0, "")
    assert set(rows()) == {0, 1, 2}
    tables = sorted(Path("results/sweeps").glob("*/table.csv"))
    assert len(pd.read_csv(tables[-1])) == 3


def test_at_its_time_limit_a_run_is_saved_requeued_and_resumed(sweep):
    limits = ["hydra.launcher.timeout_min=1", "hydra.launcher.slurm_signal_delay_s=30"]
    running = sweep("seed=7,8", "train.iterations=100000", "train.time_budget=50s", *limits)
    printed, complaint = running.communicate(timeout=800)
    assert running.returncode == 0, printed + complaint
    assert set(rows()) == {7, 8}
    logs = [path.read_text() for path in Path("results/runs").glob("*/run.log")]
    assert all("resuming from step" in log for log in logs)
