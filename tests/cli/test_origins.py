"""The key that a message names, and what it says has set it."""

from pathlib import Path

import pytest

from metarun.cli import hydra_app
from metarun.cli.hydra_app import run_under_hydra
from metarun.config.key_origins import knob, knobs, set_by

pytestmark = pytest.mark.command

OF_IMAGES = ("algo=protonet", "data=image_folder")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that composes a command and returns how a message names each key, run by run."""
    monkeypatch.chdir(tmp_path)

    def ask(command: str, *words: str, keys: list[str]) -> list[str]:
        named: list[str] = []

        def execute(*_: object) -> None:
            named.extend(knob(key, "…") for key in keys)

        monkeypatch.setattr(hydra_app, "_execute", execute)
        assert run_under_hydra(command, list(words)) == 0
        return named

    return ask


def test_defaults_recipes_and_the_command_are_distinguished(messages):
    named = messages("train", *OF_IMAGES, "task.query=2", keys=["train.query", "test.query", "task.way", "seed"])
    assert named == [
        "`train.query` (…, set by recipe=protonet_miniimagenet)",
        "`task.query` (…, set by the command)",
        "`task.way` (…, the default, task=5way1shot)",
        "`seed` (…, the default)",
    ]


def test_the_local_file_overrides_recipes_and_a_debug_file_overrides_both(messages, tmp_path: Path):
    (tmp_path / "own" / "local").mkdir(parents=True)
    (tmp_path / "own" / "local" / "default.yaml").write_text("# @package _global_\ntrain: {query: 3, outer_lr: 0.5}\n")
    words = [*OF_IMAGES, "--config-dir", "own", "debug=smoke"]
    assert messages("train", *words, keys=["train.query", "train.outer_lr"]) == [
        "`task.query` (…, set by debug=smoke)",
        "`train.outer_lr` (…, set by local=default)",
    ]


def test_an_interpolated_key_names_its_source(messages):
    named = messages(
        "train", *OF_IMAGES, "train.query=${task.query}", "task=20way5shot", keys=["train.query", "train.shot"]
    )
    assert named == ["`task.query` (…, set by task=20way5shot)", "`task.shot` (…, set by task=20way5shot)"]


def test_a_key_in_braces_is_set_by_the_command(messages):
    assert messages("train", "task={query: 2, shot: 3}", keys=["train.shot"]) == ["`task.shot` (…, set by the command)"]


def test_an_experiment_and_the_option_that_it_selects_are_named(messages):
    named = messages("train", "experiment=maml_sinusoid_5points", keys=["task.shot", "task.query", "test.tasks"])
    assert named[0] == "`task.shot` (…, set by experiment=maml_sinusoid_5points)"
    assert named[1] == "`task.query` (…, set by task=10points, which experiment=maml_sinusoid_5points selects)"
    assert named[2] == "`test.tasks` (…, set by experiment=maml_sinusoid_5points)"


def test_a_swept_key_is_set_by_the_sweep(messages):
    named = messages("train", "-m", "hydra/launcher=one_process", "task.shot=1,5", keys=["task.shot"])
    assert named == ["`task.shot` (…, set by the sweep)"] * 2


def test_a_users_primary_config_is_named_by_its_file(messages, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("defaults: [config, _self_]\ntrain: {query: 3}\n")
    words = ["--config-dir", str(tmp_path), "--config-name", "mine"]
    assert messages("train", *words, keys=["train.query"]) == [f"`train.query` (…, set by {tmp_path}/mine.yaml)"]


def test_a_setting_of_the_trained_run_is_named_as_such(messages):
    named = messages("test", "run=1", "task.query=4", keys=["test.query", "task.shot"])
    assert named == ["`task.query` (…, set by the command)", "`task.shot` (…, as the run was trained)"]


def test_without_a_command_only_key_and_value_are_named():
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
def test_the_data_set_of_a_test_does_not_change_the_task_settings(monkeypatch, tmp_path: Path, words, kept):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "five.yaml").write_text("# @package _global_\ntask: {shot: 5}\n")
    seen = []
    monkeypatch.setattr(hydra_app, "_execute", lambda _, config, *rest: seen.append(dict(config.task)))
    assert run_under_hydra("test", ["run=1", "--config-dir", str(tmp_path), *words]) == 0
    assert {key: seen[0][key] for key in kept} == kept
