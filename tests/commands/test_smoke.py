"""`debug=smoke`: a complete run of any algo in seconds."""

import json
import sys
from pathlib import Path

import pytest

from metarun.cli import main as cli
from metarun.config.folder import config_dir

NEURAL_PROCESSES = ("attentive_np", "cnp", "transformer_np")  # regression alone
ALGOS = sorted({path.stem for path in (config_dir() / "algo").glob("*.yaml")} - {*NEURAL_PROCESSES, "prompt"})
POLICIES = ("finetune_rl", "maml_rl", "multitask", "promp", "random", "rl2")
REGRESSION = ("maml", "fomaml", "metasgd", "mamlpp", "reptile", "cavia", *NEURAL_PROCESSES)


def smoke(monkeypatch, folder: Path, *words: str) -> dict:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["metarun", "train", "debug=smoke", *words])
    assert cli.main() == 0
    (written,) = folder.glob("results/debug/runs/*/result.json")
    return json.loads(written.read_text())


@pytest.mark.parametrize("algo", [a if a == "maml" else pytest.param(a, marks=pytest.mark.slow) for a in ALGOS])
def test_every_algo_completes_a_run_in_seconds(monkeypatch, tmp_path, algo):
    data = ["data=navigation2d"] if algo in POLICIES else []
    record = smoke(monkeypatch, tmp_path, f"algo={algo}", *data)
    assert (record["status"], record["test_tasks"]) == ("done", 4)
    assert record["iterations"] == (0 if algo in ("nearest_centroid", "random") else 2)


@pytest.mark.slow
@pytest.mark.parametrize("algo", REGRESSION)
def test_every_regression_method_completes_a_run(monkeypatch, tmp_path, algo):
    assert smoke(monkeypatch, tmp_path, f"algo={algo}", "data=sinusoid")["status"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("data", ["bandits", "navigation2d_sparse", "tabular_mdp"])
@pytest.mark.parametrize("algo", ["maml_rl", "rl2"])
def test_every_environment_completes_a_run(monkeypatch, tmp_path, algo, data):
    assert smoke(monkeypatch, tmp_path, f"algo={algo}", f"data={data}", "task.shot=3")["status"] == "done"


@pytest.mark.slow
def test_a_smoke_run_is_always_repeated(monkeypatch, tmp_path):
    written = []
    for _ in range(2):
        smoke(monkeypatch, tmp_path, "algo=protonet")
        written.append(next(tmp_path.glob("results/debug/runs/*/result.json")).stat().st_mtime_ns)
    assert written[0] != written[1]
