"""Error messages: one line with the closest valid option, exit code 2."""

import re
from pathlib import Path

import pytest

from metarun.cli.errors import report
from metarun.errors import RunFailed, UserError
from tests.support.commands import replace_runs, run_here
from tests.support.markers import few_of

pytestmark = pytest.mark.command


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Change to an empty folder, and fail if a run starts."""

    def reached(_: object) -> None:
        pytest.fail("the error was not detected")

    replace_runs(monkeypatch, reached)
    monkeypatch.setattr("metarun.errors.FULL_TRACE", False)
    monkeypatch.chdir(tmp_path)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run `metarun` with invalid arguments; return its error message."""
    assert run_here(*words) == 2
    line = capsys.readouterr().err
    assert line.startswith("metarun: error: ")
    assert line.count("\n") == 1, line
    assert "HYDRA_FULL_ERROR" not in line
    return line.removeprefix("metarun: error: ").rstrip()


INVALID_OVERRIDES = [
    ("task.wya=5", "unknown key 'task.wya'. Did you mean 'task.way'?"),
    ("algoo=maml", "unknown key 'algoo'. Did you mean 'algo'?"),
    ("inner_lr=0.1", "unknown key 'inner_lr'. Did you mean 'algo.inner_lr'?"),
    ("algo.inner_lrr=0.1", "unknown key 'algo.inner_lrr'. Did you mean 'algo.inner_lr'?"),
    ("zzz=1", "unknown key 'zzz'. --cfg job shows every key."),
    ("+train.weight_decay=0.1", "unknown key 'train.weight_decay'. Did you mean 'train.lr_decay'? --cfg job shows"),
    ("data=omnigot", "unknown option data=omnigot. Did you mean 'omniglot'? Possible: "),
    ("+sweep=task_size", "unknown option sweep=task_size. Did you mean 'task_sizes'? Possible: methods, seeds,"),
    ("sweep=task_sizes", "sweep has no default option: write +sweep=… with a plus sign."),
    ("hydra/launcher=jobib", "unknown option hydra/launcher=jobib. Did you mean 'joblib'?"),
    ("seed=abc", "seed must be a whole number, not 'abc'."),
    (f"train.clip_grad=1{'0' * 330}", "train.clip_grad is too large for a float; the largest is 2e+308."),
    ("train.iterations=ten", "train.iterations must be a whole number, not 'ten'."),
    ("train.outer_lr=fast", "train.outer_lr must be a number, not 'fast'."),
    ("force=maybe", "force must be true or false, not 'maybe'."),
    ("task.query=null", "task.query must be a value other than null, not 'null'."),
    ("task.way=null", "task.way=null is not a whole number; set `task.way` to one, or to a range such as 5..20."),
    ("seed.x=1", "seed.x=1: seed must be a whole number and has no subkeys."),
    ("train.time_budget.x=1", "train.time_budget.x=1: train.time_budget has no subkeys."),
    ("published.accuracy=1", "published.accuracy cannot be set while published is null: set published as a whole."),
    ("seed", "'seed' is not of the form key=value."),
    ("seed=[1", "'seed=[1' cannot be parsed because of the [ in the value; quote it: 'seed=\"[1\"'"),
    ("seed=1=2", "'seed=1=2' cannot be parsed because of the = in the value; quote it: 'seed=\"1=2\"'"),
    ("se&ed=1", "'se&ed=1' cannot be parsed ("),
    ("recipe=maml_glyph", "unknown option recipe=maml_glyph. Did you mean 'maml_glyphs'? Possible: maml_glyphs,"),
    ("debug=smok", "unknown option debug=smok. Did you mean 'smoke'? Possible: smoke."),
    ("seed=1,2", "seed=1,2 has several values: add -m to run each of them, or write seed=[1,2]"),
    ("algo=glob(*)", "algo=glob(*) has several values: add -m"),
    ("+seed=1", "seed already exists: write seed=… without the plus sign."),
    ("~algo", "~algo removes algo, which every config has; write algo=NAME to change it."),
    ("~task.way", "~task.way removes task.way, which every config has; write task.way=VALUE to change it."),
    ("algo=[maml]", "algo=[maml] is a list but a run has one algo; write algo=maml."),
    ("~nope", "Could not delete from config. 'nope' does not exist."),
    ("task=3", "metarun train task=3: Config group override must be a string"),
]


@pytest.mark.parametrize(("override", "sentence"), few_of(INVALID_OVERRIDES, *INVALID_OVERRIDES[::3]))
def test_an_invalid_override_is_reported_with_the_closest_valid_one(
    capsys: pytest.CaptureFixture[str], override: str, sentence: str
) -> None:
    assert error_of(capsys, "train", override).startswith(sentence)


INVALID_FLAGS = [
    (["-m", "task.wya=1,2"], "unknown key 'task.wya'. Did you mean 'task.way'?"),
    (["-m", "seed=1,b"], "seed must be a whole number, not 'b'."),
    (["-m", "recipe=nope", "hydra/launcher=one_process"], "[recipe=nope] unknown option recipe=nope. Possible: "),
    (["-m", "algo=maml,mmal"], "unknown option algo=mmal. Did you mean 'maml'?"),
    (["--config-dir", "nowhere"], "--config-dir nowhere: no such folder"),
    (["--config-path", "nowhere"], "--config-path nowhere: no such folder"),
    (["--config-name", "nope"], "unknown config 'nope': nope.yaml is neither in conf/ nor"),
    (["--cfg", "jbo"], "argument --cfg/-c: invalid choice: 'jbo'"),
    (["--cgf", "job"], "unknown flag '--cgf'; `metarun train --hydra-help` lists the flags."),
]


@pytest.mark.parametrize(("words", "sentence"), few_of(INVALID_FLAGS, INVALID_FLAGS[0], *INVALID_FLAGS[2::2]))
def test_an_invalid_flag_or_sweep_is_reported(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert error_of(capsys, "train", *words).startswith(sentence)


@pytest.mark.parametrize(("group", "key"), [("data", "data.split"), ("algo", "algo.scale")])
def test_a_key_of_a_group_without_an_option_asks_for_the_option(
    capsys: pytest.CaptureFixture[str], group: str, key: str
) -> None:
    message = error_of(capsys, "test", "run=12345678", f"{key}=3")
    assert message == f"{key} needs an option of {group}, and none is selected: add {group}=NAME."


OF_TRAIN = ("logger=csv", "+logger=csv", "experiment=maml_omniglot_5w1s", "backbone.filters=4", "logger=null")


@pytest.mark.parametrize("word", few_of(OF_TRAIN, *OF_TRAIN[1:4]))
def test_a_group_that_only_training_has_is_refused_in_a_test(capsys: pytest.CaptureFixture[str], word: str) -> None:
    message = f"{re.split('[.=]', word.lstrip('+'))[0]} is a group of `metarun train`; `metarun test` has algo, data,"
    assert error_of(capsys, "test", "run=12345678", word).startswith(message)


def test_metarun_test_without_a_run_explains_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "test", "task.way=5").startswith("run=RUN is required: a run's directory, the")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: [1\nc: 2\n", "mine.yaml, line 3, is not valid YAML: expected ',' or ']', but got ':'."),
        ("a: 1\na: 2\n", "mine.yaml, line 2, is not valid YAML: found duplicate key a."),
        ("defaults:\n  - nothere\n", "data/nothere.yaml (named in data/mine.yaml) is neither in conf/ nor"),
        (
            "defaults:\n  - /task: 5wya1shot\n",
            "unknown option task=5wya1shot (named in data/mine.yaml). Did you mean '5way1shot'",
        ),
    ],
)
def test_an_invalid_config_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "mine.yaml").write_text(text)
    assert sentence in error_of(capsys, "train", "--config-dir", "own", "data=mine")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data", "lst"], "metarun data: argument list | get NAME | check NAME: invalid choice: 'lst'"),
        (["data"], "metarun data: the following arguments are required"),
        (
            ["data", "get", "omnigot"],
            "unknown data set 'omnigot'. Did you mean 'omniglot'? Possible: ",
        ),
        (["data", "get", "glyphs", "splt=lake"], "`data.splt` is not a key of Glyphs"),
        (["data", "get"], "metarun data get: the following arguments are required: NAME. See"),
        (["data", "get", "glyphs", "split"], "'split' is not of the form key=value."),
        (["data", "get", "glyphs", "~split"], "'~split' is not of the form key=value."),
        (["data", "get", "glyphs", "split=[1"], "'split=[1' cannot be parsed because of the [ in the value; quote it"),
        (["data", "check", "glyphs", "seed=1,2"], "seed=1,2 has several values; give it one, or a list in brackets."),
        (["doctor", "--fix"], "metarun doctor: unrecognized arguments: --fix."),
    ],
)
def test_an_invalid_argument_of_a_command_without_hydra_is_reported(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert error_of(capsys, *words).startswith(sentence)


def test_the_message_of_a_constructors_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from hydra.errors import InstantiationException

    error = InstantiationException("Error in call to target 'metarun.algorithms.MAML'")
    error.__cause__ = UserError("algo.order=3: MAML knows 1 and 2.")
    assert report(error) == 2
    assert capsys.readouterr().err == "metarun: error: algo.order=3: MAML knows 1 and 2.\n"
    error.__cause__ = RunFailed("no memory left.")
    assert report(error) == 1


def test_any_other_error_is_a_bug_and_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ValueError("shapes differ")) == 1
    assert "ValueError: shapes differ" in capsys.readouterr().err


def test_ctrl_c_prints_one_line_and_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "metarun: stopped by Ctrl-C.\n"


def test_quoted_input_cannot_move_the_cursor_or_fill_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "train", "seed=\x1b[2J\u202e\x07" + "x" * 5_000)
    assert message.isprintable()
    assert len(message) < 2_100
    assert r"\x1b[2J\u202e\x07xxx" in message


def test_a_huge_sweep_is_refused_before_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "train", "-m", "seed=range(1,1000000000)", "task.way=range(1,1000000000)")
    assert message == "the sweep has more than 100,000 runs; give the keys fewer values."


def test_a_flag_that_runs_code_from_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "train", "--experimental-rerun", "config.pickle")
    assert message.startswith("--experimental-rerun runs any code in its file")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"split: \xff\n", "own/data/mine.yaml cannot be read as YAML ('utf-8' codec can't decode"),
        (b"split: \x07\n", "own/data/mine.yaml cannot be read as YAML ("),
        (b"- " * 3_000, "own/data/mine.yaml cannot be read as YAML ("),
        (b"5\n", "own/data/mine.yaml must be a mapping of keys to values."),
        (b"defaults:\n  - mine\n", "the config includes itself in its `defaults`, or is nested too deep."),
        (b'defaults:\n  - "\\ud800"\n', "own/data/mine.yaml cannot be read as YAML ("),
    ],
    ids=["bytes", "bell", "deep", "number", "itself", "surrogate"],
)
def test_an_unreadable_config_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "mine.yaml").write_bytes(content)
    assert error_of(capsys, "train", "--config-dir", "own", "data=mine").startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["x" * 5_000 + "=1"], "a file that the config refers to cannot be read (File name too long)."),
        (["--config-dir", "x" * 5_000], "--config-dir xxxx"),
        (["seed=" + "[" * 2_000], "'seed=[[["),
    ],
)
def test_very_long_arguments_are_reported(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert error_of(capsys, "train", *words).startswith(sentence)


def test_possible_recipes_include_those_that_the_method_borrows(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "train", "algo=l2l_anil", "recipe=nope")
    assert message.startswith("unknown option recipe=nope. Possible: anil_glyphs, anil_miniimagenet, anil_omniglot.")


def test_a_recipe_in_a_users_experiment_must_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [{override /recipe: nope}]\n")
    message = error_of(capsys, "train", "--config-dir", str(tmp_path), "experiment=mine")
    assert message.startswith("unknown option recipe=nope (named in experiment/mine.yaml). Possible: ")


NO_RECIPE = ("recipe=null", "algo=anil", *(f"{group}=null" for group in ("experiment", "local", "debug", "logger")))


@pytest.mark.parametrize("word", few_of(NO_RECIPE, *NO_RECIPE[:3]))
def test_recipes_are_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str) -> None:
    seen: list[object] = []
    monkeypatch.setattr("metarun.cli.hydra_app._execute", lambda _, config, *rest: seen.append(config))
    assert run_here("train", "data=image_folder", word) == 0
    assert len(seen) == 1
