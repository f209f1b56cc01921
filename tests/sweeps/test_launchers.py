"""Sweeps on joblib and submitit; Slurm is tested in tests/clusters/."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from metarun.sweeps.launchers import ENGINES, Command
from metarun.system.events import read_events
from tests.support.commands import run_here, run_process
from tests.support.markers import few_of
from tests.sweeps.test_pool import SMALL, wait_for

pytestmark = pytest.mark.command

FAST = ["algo=protonet", *SMALL, "train.iterations=4"]


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def sweep(*words: str) -> subprocess.CompletedProcess[str]:
    return run_process("train", "-m", *words, timeout=250)


def done() -> list[dict]:
    read = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    return [row for row in read if row["status"] == "done"]


@pytest.mark.sampled
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["joblib", "submitit_local"])
def test_a_failed_run_is_reported_and_the_others_finish(engine):
    words = [*FAST, f"hydra/launcher={engine}", "hydra.sweep.dir=results/sweeps/mine"]
    found = sweep(*words, "algo.distance=cosine,nonsense,squared_euclidean")
    assert found.returncode == 1
    assert len(done()) == 2
    assert "[algo.distance=nonsense] algo.distance='nonsense' is not one of" in found.stderr
    assert "Traceback" not in found.stderr + found.stdout
    assert "1 of 3 runs failed" in found.stderr
    assert len(pd.read_csv("results/sweeps/mine/table.csv")) == 2


@pytest.mark.sampled
@pytest.mark.slow
def test_a_killed_run_of_submitit_does_not_affect_the_others():
    words = ["algo=protonet", *SMALL, "train.iterations=150", "seed=0,1", "hydra/launcher=submitit_local"]
    first = subprocess.Popen(
        [sys.executable, "-m", "metarun", "train", "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: list(Path("results/runs").glob("*/last.pt")))
    os.kill(processes_of("seed=0")[0], signal.SIGKILL)
    _, stderr = first.communicate(timeout=200)
    assert first.returncode == 1
    assert "[seed=0] killed by SIGKILL" in stderr
    assert [row["seed"] for row in done()] == [1]
    assert sweep(*words).returncode == 0
    assert sorted(row["seed"] for row in done()) == [0, 1]


def processes_of(word: str) -> list[int]:
    """The processes of metarun in the current folder that run with this override."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words, folder = (process / "cmdline").read_text().split("\0"), (process / "cwd").readlink()
        except OSError:
            continue
        if word in words and "hydra.mode=RUN" in words and folder == Path.cwd():
            found.append(int(process.name))
    return found


@pytest.mark.parametrize(
    "name", few_of(["joblib", "submitit_local", "submitit_slurm", "ray"], "joblib", "submitit_slurm")
)
def test_a_missing_engine_is_reported_in_one_sentence(name, monkeypatch, capsys):
    package = "submitit" if name.startswith("submitit") else name
    monkeypatch.setitem(sys.modules, package, None)
    assert run_here("train", "-m", "seed=0,1", f"hydra/launcher={name}") == 2
    sentence = f"hydra/launcher={name} needs {package}: pip install 'metarun[{ENGINES[name][0]}]'."
    assert sentence in capsys.readouterr().err


def test_missing_slurm_is_reported_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert run_here("train", "-m", "seed=0,1", "hydra/launcher=submitit_slurm") == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("metarun: error: hydra/launcher=submitit_slurm: ")
    assert "Traceback" not in stderr


EMITS = """
import os, subprocess, sys
from metarun.system.events import emit, connect_to_sweep
emit("phase", phase="testing", said="not connected yet")
assert connect_to_sweep()
assert "METARUN_EVENTS" not in os.environ
emit("phase", phase="training", said="meta-training x")
print("→ printed output is not parsed")
emit("finished", path="a/b")
subprocess.run([sys.executable, "-c", "import os; os.fdopen(3, 'w').write('{}')"], stderr=subprocess.DEVNULL)
sys.exit("no.")
"""


def test_a_command_returns_its_outcome_and_prints_its_messages(capfd):
    ended = Command(3, "seed=1", [sys.executable, "-c", EMITS], ".", full_trace=False, variables={})()
    assert (ended.number, ended.code, ended.path, ended.reason) == (3, 1, Path("a/b"), "no.")
    assert capfd.readouterr().out == "[3: seed=1] meta-training x\n"


def test_a_truncated_line_is_not_an_event():
    lines = b'{"event": "phase", "phase": "training"}\n[1]\nnot json\n{"event": 3}\n{"event": "finis'
    assert list(read_events(io.BytesIO(lines))) == [{"event": "phase", "phase": "training"}]
