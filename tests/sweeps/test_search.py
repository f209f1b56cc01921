"""Searches: the search space, pruned, failed and killed trials, and resuming a search."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import optuna
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import ThresholdPruner

from metarun.errors import UserError
from metarun.sweeps.search import _row, _Trials
from metarun.sweeps.search_space import Space, to_overrides
from metarun.system.atomic_write import write_json
from tests.cli.test_compare import record
from tests.sweeps.test_pool import wait_for

SMALL = ["algo=maml", "data=sinusoid", "train.validate_every=10", "train.validate_tasks=8", "test.tasks=8"]
OPTUNA = ["-m", "hydra/sweeper=optuna", "hydra.launcher.n_jobs=2", "hydra.sweeper.study=mine"]
FOLDER = Path("results/sweeps/mine")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("algo.inner_lr=tag(log,interval(1e-3,1))", FloatDistribution(1e-3, 1, log=True)),
        ("algo.inner_lr=interval(0,1)", FloatDistribution(0, 1)),
        ("algo.inner_steps=int(interval(1,10))", IntDistribution(1, 10)),
        ("algo.inner_steps=range(1,10,3)", IntDistribution(1, 7, step=3)),
        ("seed=range(3)", IntDistribution(0, 2)),
        ("algo=maml,protonet", CategoricalDistribution(["maml", "protonet"])),
        ("algo=choice(maml,protonet)", CategoricalDistribution(["maml", "protonet"])),
    ],
)
def test_overrides_become_optuna_distributions(word, expected):
    key, _, _ = word.partition("=")
    space = Space.of([word, "data=glyphs", "algo.x=[1,2]"], None)
    assert space.free == {key: expected}
    assert space.fixed == ["data=glyphs", "algo.x=[1,2]"]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9))
def test_hydra_parses_the_written_values(value):
    (word,) = to_overrides({"algo.inner_lr": value})
    assert OverridesParser.create().parse_override(word).value() == value


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=glyphs"], "there is nothing to search; give a key several values or a range"),
        (["algo.inner_lr=tag(log,interval(0,1))"], "cannot be searched: `low > 0` must hold"),
        (["algo.inner_lr=interval(2,1)"], r"algo.inner_lr=interval\(2,1\) cannot be searched"),
    ],
)
def test_an_invalid_search_space_is_refused(words, sentence):
    with pytest.raises(UserError, match=sentence):
        Space.of(words, None)


@pytest.fixture
def search(metarun):
    """Run a small search in this process."""
    return partial(metarun, "train", *OPTUNA, *SMALL)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["algo.inner_lr=interval(0.001,0.1)", "algoo.x=1"], "unknown key 'algoo'"),
        (["algo.inner_lr=0.1"], "there is nothing to search"),
    ],
)
def test_an_error_is_one_sentence(search, words, sentence):
    code, _, stderr = search(*words)
    assert (code, sentence in stderr) == (2, True), stderr


def test_without_optuna_the_error_says_how_to_install_it(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "metarun.sweeps.search", raising=False)
    code, _, stderr = search("seed=0,1")
    assert (code, stderr) == (
        2,
        "metarun: error: hydra/sweeper=optuna needs Optuna: pip install 'metarun[optuna]'.\n",
    )


@pytest.mark.parametrize(("state", "figure"), [("done", -10.5), ("pruned", -30.25)])
def test_a_negative_return_keeps_its_sign(tmp_path, state, figure):
    write_json(tmp_path / "result.json", {**record(id="0000000a"), "return": -12.0, "val_return": -10.5})
    study = optuna.create_study(direction="maximize")
    trials = _Trials(study, Space([], {"algo.inner_lr": FloatDistribution(0, 1)}), 1)
    (job,) = trials
    validation = job.update({"event": "validated", "step": 10, "score": -30.25, "value": -30.25, "figure": "-30.25"})
    trials.on_validation(job, *validation)
    job.state, job.path = state, tmp_path
    trials.on_end(job)
    (row,) = map(_row, study.trials)
    assert (row["state"], row["figure"]) == (state, figure)


def trials() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "trials.csv")


@pytest.mark.slow
def test_failed_and_pruned_trials_are_reported(search, monkeypatch):
    pruner = ThresholdPruner(lower=1.0, n_warmup_steps=10)  # a negative squared error is always lower
    monkeypatch.setattr("optuna.pruners.MedianPruner", lambda: pruner)
    words = ["train.iterations=2000", "algo.inner_lr=1e-9,1e30", "hydra.sweeper.n_trials=4"]
    code, printed, stderr = search(*words, "hydra.sweeper.params={}")
    assert stderr == ""
    assert code == 1, "no trial finished"
    assert {"pruned", "failed"} == set(trials().state)
    assert "pruned" in printed
    assert "the meta-training loss became nan" in trials().reason.dropna().iloc[0]
    assert "failed: algo.inner_lr=1e+30: " in printed


@pytest.mark.sampled
@pytest.mark.slow
def test_a_killed_search_resumes_up_to_its_number_of_trials(search):
    words = ["train.iterations=60", "algo.inner_lr=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=5"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "metarun", "train", *OPTUNA, *SMALL, *words], stdout=subprocess.DEVNULL
    )
    wait_for(lambda: len(list(Path("results/runs").glob("*/result.json"))) >= 2)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    code, printed, stderr = search(*words)
    assert (code, stderr) == (0, "")
    assert len(trials()) == 5
    assert set(trials().state) == {"done"}
    assert trials()["algo.inner_lr"].is_unique
    assert len(list(Path("results/runs").iterdir())) == 5, "started runs were resumed"
    best = trials().sort_values("figure").iloc[0]
    assert f"best on meta-val: algo.inner_lr={best['algo.inner_lr']}, mse {best.figure:.4f} → " in printed
    assert best.id in printed.splitlines()[-1]
    assert search(*words)[0] == 0, "there is nothing left to do"
    assert len(trials()) == 5
    code, _, stderr = search(*words[:1], "algo.inner_lr=interval(0.1,0.2)")
    assert (code, "results/sweeps/mine contains another search" in stderr) == (2, True), stderr
