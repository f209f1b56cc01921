"""Which key a message names, and whom it says to have set it."""

from pathlib import Path

import pytest

from metarun.cli import hydra_app as hydra_verbs
from metarun.cli.hydra_app import run_under_hydra
from metarun.config.key_origins import knob, knobs, set_by

pytestmark = pytest.mark.command

OF_IMAGES = ("algo=protonet", "data=image_folder")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that composes a command and returns what a message says of each of some keys, run by run."""
    monkeypatch.chdir(tmp_path)

    def ask(verb: str, *words: str, keys: list[str]) -> list[str]:
        told: list[str] = []

        def perform(*_: object) -> None:
            told.extend(knob(key, "…") for key in keys)

        monkeypatch.setattr(hydra_verbs, "_perform", perform)
        assert run_under_hydra(verb, list(words)) == 0
        return told

    return ask


def test_a_default_the_command_and_a_recipe_are_told_apart(asked):
    told = asked("train", *OF_IMAGES, "task.query=2", keys=["train.query", "test.query", "task.way", "seed"])
    assert told == [
        "`train.query` (…, set by recipe=protonet_miniimagenet)",
        "`task.query` (…, set by the command)",
        "`task.way` (…, the default, task=5way1shot)",
        "`seed` (…, the default)",
    ]


def test_the_users_local_file_beats_recipes_and_a_debug_file_beats_both(asked, tmp_path: Path):
    (tmp_path / "own" / "local").mkdir(parents=True)
    (tmp_path / "own" / "local" / "default.yaml").write_text("# @package _global_\ntrain: {query: 3, outer_lr: 0.5}\n")
    words = [*OF_IMAGES, "--config-dir", "own", "debug=smoke"]
    assert asked("train", *words, keys=["train.query", "train.outer_lr"]) == [
        "`task.query` (…, set by debug=smoke)",
        "`train.outer_lr` (…, set by local=default)",
    ]


def test_a_key_that_follows_another_names_that_one(asked):
    told = asked(
        "train", *OF_IMAGES, "train.query=${task.query}", "task=20way5shot", keys=["train.query", "train.shot"]
    )
    assert told == ["`task.query` (…, set by task=20way5shot)", "`task.shot` (…, set by task=20way5shot)"]


def test_a_setting_in_braces_is_the_commands_too(asked):
    assert asked("train", "task={query: 2, shot: 3}", keys=["train.shot"]) == ["`task.shot` (…, set by the command)"]


def test_an_experiment_and_the_option_that_a_data_set_chooses_are_told_by_name(asked):
    told = asked("train", "experiment=maml_sinusoid_5points", keys=["task.shot", "task.query", "test.tasks"])
    assert told[0] == "`task.shot` (…, set by experiment=maml_sinusoid_5points)"
    assert told[1] == "`task.query` (…, set by task=10points, which experiment=maml_sinusoid_5points chooses)"
    assert told[2] == "`test.tasks` (…, set by experiment=maml_sinusoid_5points)"


def test_what_differs_in_a_sweep_is_set_by_the_sweep(asked):
    told = asked("train", "-m", "hydra/launcher=one_process", "task.shot=1,5", keys=["task.shot"])
    assert told == ["`task.shot` (…, set by the sweep)"] * 2


def test_a_config_of_the_users_own_is_told_by_its_file(asked, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("defaults: [config, _self_]\ntrain: {query: 3}\n")
    words = ["--config-dir", str(tmp_path), "--config-name", "mine"]
    assert asked("train", *words, keys=["train.query"]) == [f"`train.query` (…, set by {tmp_path}/mine.yaml)"]


def test_a_test_says_what_is_as_the_run_was_trained(asked):
    told = asked("test", "run=1", "task.query=4", keys=["test.query", "task.shot"])
    assert told == ["`task.query` (…, set by the command)", "`task.shot` (…, as the run was trained)"]


def test_without_a_command_only_key_and_value_are_told():
    assert knob("task.query", 15) == "`task.query` (15)"
    assert set_by("task.query") == ""
    assert knobs({"shot": 1, "query": 2}, " or ") == "`shot` (1) or `query` (2)"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["data=sinusoid"], {"way": None, "shot": None, "query": None}),
        (["data=sinusoid", "task.shot=3"], {"way": None, "shot": 3, "query": None}),
        (["data=sinusoid", "task=10points"], {"way": 1, "shot": 10, "query": 10}),
        (["data=sinusoid", "+experiment=five"], {"way": None, "shot": 5, "query": None}),
    ],
)
def test_a_data_set_of_a_test_leaves_the_runs_tasks_as_they_are(monkeypatch, tmp_path: Path, words, kept):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "five.yaml").write_text("# @package _global_\ntask: {shot: 5}\n")
    seen = []
    monkeypatch.setattr(hydra_verbs, "_perform", lambda _, config, *rest: seen.append(dict(config.task)))
    assert run_under_hydra("test", ["run=1", "--config-dir", str(tmp_path), *words]) == 0
    assert {key: seen[0][key] for key in kept} == kept
