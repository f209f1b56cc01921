"""Runs of an earlier version keep their ids and can be found, tested, compared and repeated.

The directories in `earlier_runs` were written by metarun 0.1.0 as of November 2026, before its modules moved.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metarun.cli import main as cli
from metarun.config.compose import resolve
from metarun.config.run_id import run_id
from metarun.results.run_directory import RunDirectory
from metarun.runner.stored_config import stored_config

EARLIER = Path(__file__).parent / "earlier_runs"
TRAINED = ("protonet-glyphs-5w1s-f649e085", "maml-glyphs-5w1s-aeb63ee4", "metasgd-sinusoid-1w10s-7029ac93")
SINUSOID = [
    *("train", "algo=metasgd", "data=sinusoid", "test.steps=2", "backbone.hidden=[8,8]", "train.iterations=4"),
    *("train.validate_every=2", "train.validate_tasks=5", "test.tasks=6"),
]


@pytest.fixture
def runs(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command beside copies of the runs and returns its exit code and output."""
    shutil.copytree(EARLIER, tmp_path / "results" / "runs")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["metarun", *words])
        return cli.main(), "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("name", TRAINED)
def test_the_stored_config_has_the_same_id(name):
    config = stored_config(RunDirectory(EARLIER / name), trust=[])
    assert run_id({key: value for key, value in config.items() if key not in ("defaults", "hydra")}) == name[-8:]


def test_the_same_command_finds_the_run(runs):
    code, said = runs(*SINUSOID)
    assert code == 0, said
    assert "Already finished" in said
    assert "7029ac93" in said


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.parametrize("name", TRAINED)
def test_the_run_can_be_tested(runs, name):
    before = json.loads((EARLIER / name / "result.json").read_text())
    code, said = runs("test", f"run={name[-8:]}", "test.tasks=5", "test.steps=1")
    assert code == 0, said
    rows = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/result.json")]
    (row,) = (row for row in rows if row.get("trained_by") == name[-8:] and row["test_tasks"] == 5)
    assert (row["algo"], row["example_shape"]) == (before["algo"], before["example_shape"])


def test_all_runs_are_compared(runs):
    code, said = runs("compare", "--format", "csv")
    assert code == 0, said
    assert all(name[-8:] in said for name in (*TRAINED, "68af1b0b"))
    assert runs("report", "-o", "report.html")[0] == 0


def test_the_stored_config_repeats_the_run(runs):
    folder = EARLIER / TRAINED[2]
    code, said = runs("train", "--config-path", str(folder), "--config-name", "config", "results_dir=again")
    assert code == 0, said
    (again,) = Path("again/runs").iterdir()
    assert again.name == TRAINED[2]


def test_resolving_a_resolved_config_does_not_change_its_id(runs):
    config = stored_config(RunDirectory(EARLIER / TRAINED[0]), trust=[])
    plain = {key: value for key, value in config.items() if key not in ("defaults", "hydra")}
    assert run_id(resolve(OmegaConf.create(plain))) == TRAINED[0][-8:]


def test_a_run_with_an_unknown_key_is_not_repeated(runs):
    config = Path("results/runs") / TRAINED[0] / "config.yaml"
    config.write_text(config.read_text().replace("train:\n", "train:\n  weight_decay: 0.1\n"))
    code, said = runs("rerun", TRAINED[0][-8:])
    assert code == 2
    assert (
        "has a key that this version of metarun does not know (train.weight_decay); rerun it with the version" in said
    )
