"""What the user reads after a mistake: one line, the nearest right word, exit code 2."""

from pathlib import Path

import pytest

from metarun.cli.errors import report
from metarun.errors import RunFailed, UserError
from tests.support.commands import replace_runs, run_here

pytestmark = pytest.mark.command


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A current folder of our own, and runs that a mistake must never reach."""

    def reached(_: object) -> None:
        pytest.fail("the mistake went unnoticed")

    replace_runs(monkeypatch, reached)
    monkeypatch.setattr("metarun.errors.FULL_TRACE", False)
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run `metarun` with words that hold a mistake; return its sentence."""
    assert run_here(*words) == 2
    line = capsys.readouterr().err
    assert line.startswith("metarun: error: ")
    assert line.count("\n") == 1, line
    assert "HYDRA_FULL_ERROR" not in line
    return line.removeprefix("metarun: error: ").rstrip()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("task.wya=5", "there is no key 'task.wya'. Did you mean 'task.way'?"),
        ("algoo=maml", "there is no key 'algoo'. Did you mean 'algo'?"),
        ("inner_lr=0.1", "there is no key 'inner_lr'. Did you mean 'algo.inner_lr'?"),
        ("algo.inner_lrr=0.1", "there is no key 'algo.inner_lrr'. Did you mean 'algo.inner_lr'?"),
        ("zzz=1", "there is no key 'zzz'. --cfg job shows every key"),
        ("data=omnigot", "there is no data=omnigot. Did you mean 'omniglot'? Possible: caltech101, glyphs,"),
        ("+sweep=task_size", "there is no sweep=task_size. Did you mean 'task_sizes'? Possible: methods, seeds, task_"),
        ("sweep=task_sizes", "no option of sweep is chosen by itself: write +sweep=… with a plus sign."),
        ("hydra/launcher=jobib", "there is no hydra/launcher=jobib. Did you mean 'joblib'?"),
        ("seed=abc", "seed takes a whole number, not 'abc'."),
        (f"train.clip_grad=1{'0' * 330}", "train.clip_grad is a number too large for a float; the largest is 2e+308."),
        ("train.iterations=ten", "train.iterations takes a whole number, not 'ten'."),
        ("train.outer_lr=fast", "train.outer_lr takes a number, not 'fast'."),
        ("force=maybe", "force takes true or false, not 'maybe'."),
        ("task.way=null", "task.way takes a value other than null, not 'null'."),
        ("seed.x=1", "seed.x=1: seed takes a whole number and has no keys of its own."),
        ("seed", "'seed' is not of the form key=value."),
        ("seed=[1", "'seed=[1' cannot be read because of the [ in the value; as text it is written 'seed=\"[1\"'"),
        ("seed=1=2", "'seed=1=2' cannot be read because of the = in the value; as text it is written 'seed=\"1=2\"'"),
        ("se&ed=1", "'se&ed=1' cannot be read ("),
        ("recipe=maml_glyph", "there is no recipe=maml_glyph. Did you mean 'maml_glyphs'? Possible: maml_glyphs,"),
        ("+debug=smoke", "debug is a key already: write debug=… without the plus sign."),
        ("debug=smok", "there is no debug=smok. Did you mean 'smoke'? Possible: smoke."),
        ("seed=1,2", "seed=1,2 names several values: add -m to run each of them, or write seed=[1,2]"),
        ("algo=glob(*)", "algo=glob(*) names several values: add -m"),
        ("+seed=1", "seed is a key already: write seed=… without the plus sign."),
        ("+algo=maml", "algo is a key already: write algo=… without the plus sign."),
        ("~nope", "Could not delete from config. 'nope' does not exist."),
        ("task=3", "metarun train task=3: Config group override must be a string"),
    ],
)
def test_a_wrong_override_is_told_with_the_nearest_right_one(
    capsys: pytest.CaptureFixture[str], override: str, sentence: str
) -> None:
    assert said(capsys, "train", override).startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-m", "task.wya=1,2"], "there is no key 'task.wya'. Did you mean 'task.way'?"),
        (["-m", "seed=1,b"], "seed takes a whole number, not 'b'."),
        (["-m", "recipe=nope", "hydra/launcher=one_process"], "[recipe=nope] there is no recipe=nope. Possible: maml_"),
        (["-m", "algo=maml,mmal"], "there is no algo=mmal. Did you mean 'maml'?"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
        (["--config-path", "nowhere"], "--config-path nowhere: there is no such folder"),
        (["--config-name", "nope"], "there is no config named 'nope': nope.yaml is neither in conf/ nor"),
        (["--cfg", "jbo"], "argument --cfg/-c: invalid choice: 'jbo'"),
        (["--cgf", "job"], "there is no flag '--cgf'; `metarun train --hydra-help` lists the flags."),
        (["-m", "--cfg", "job"], "metarun train -m --cfg job: Only one of"),
    ],
)
def test_a_wrong_flag_or_sweep_is_told(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert said(capsys, "train", *words).startswith(sentence)


@pytest.mark.parametrize(("group", "key"), [("data", "data.split"), ("algo", "algo.scale")])
def test_a_key_of_a_group_of_which_nothing_is_chosen_asks_for_the_choice(
    capsys: pytest.CaptureFixture[str], group: str, key: str
) -> None:
    told = said(capsys, "test", "run=12345678", f"{key}=3")
    assert told.startswith(f"{key} belongs to an option of {group}= and none is chosen here; name it too: {group}=NAME")


def test_metarun_test_without_a_run_says_what_a_run_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "test", "task.way=5").startswith("run=RUN is needed: a run's directory or")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: [1\nc: 2\n", "mine.yaml, line 3, is not YAML: expected ',' or ']', but got ':'."),
        ("a: 1\na: 2\n", "mine.yaml, line 2, is not YAML: found duplicate key a."),
        ("defaults:\n  - nothere\n", "there is no data/nothere.yaml (named in data/mine.yaml)"),
        (
            "defaults:\n  - /task: 5wya1shot\n",
            "there is no task=5wya1shot (named in data/mine.yaml). Did you mean '5way1shot'",
        ),
    ],
)
def test_a_broken_file_of_the_users_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "mine.yaml").write_text(text)
    assert sentence in said(capsys, "train", "--config-dir", "own", "data=mine")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data", "lst"], "metarun data: argument list | get NAME | check NAME: invalid choice: 'lst'"),
        (["data"], "metarun data: the following arguments are required"),
        (
            ["data", "get", "omnigot"],
            "there is no data set 'omnigot'. Did you mean 'omniglot'? Possible: caltech101, glyphs,",
        ),
        (["data", "get", "glyphs", "splt=lake"], "`data.splt` is not a key of Glyphs"),
        (["doctor", "--fix"], "metarun doctor: unrecognized arguments: --fix."),
    ],
)
def test_a_wrong_word_of_a_plain_verb_is_told(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert said(capsys, *words).startswith(sentence)


def test_a_mistake_that_a_constructor_finds_is_told_as_its_own_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from hydra.errors import InstantiationException

    error = InstantiationException("Error in call to target 'metarun.algorithms.MAML'")
    error.__cause__ = UserError("algo.order=3: MAML knows 1 and 2.")
    assert report(error) == 2
    assert capsys.readouterr().err == "metarun: error: algo.order=3: MAML knows 1 and 2.\n"
    error.__cause__ = RunFailed("no memory left.")
    assert report(error) == 1


def test_anything_else_is_ours_and_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ValueError("shapes differ")) == 1
    assert "ValueError: shapes differ" in capsys.readouterr().err


def test_ctrl_c_is_one_line_and_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "metarun: stopped by Ctrl-C.\n"


def test_what_a_sentence_quotes_cannot_move_the_cursor_or_fill_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "train", "seed=\x1b[2J\u202e\x07" + "x" * 5_000)
    assert told.isprintable()
    assert len(told) < 2_100
    assert r"\x1b[2J\u202e\x07xxx" in told


def test_a_sweep_without_end_is_told_before_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "train", "-m", "seed=range(1,1000000000)", "task.way=range(1,1000000000)")
    assert told == "these words ask for a sweep of more than 100,000 runs; name fewer values."


def test_a_flag_that_would_run_the_code_in_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "train", "--experimental-rerun", "config.pickle")
    assert told.startswith("--experimental-rerun runs whatever code its file holds")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"split: \xff\n", "own/data/mine.yaml cannot be read as YAML ('utf-8' codec can't decode"),
        (b"split: \x07\n", "own/data/mine.yaml cannot be read as YAML ("),
        (b"- " * 3_000, "own/data/mine.yaml cannot be read as YAML ("),
        (b"5\n", "own/data/mine.yaml is no mapping of keys to values, as a config is."),
        (b"defaults:\n  - mine\n", "the config leads back to itself in its `defaults`, or nests too deep."),
        (b'defaults:\n  - "\\ud800"\n', "own/data/mine.yaml cannot be read as YAML ("),
    ],
    ids=["bytes", "bell", "deep", "number", "itself", "surrogate"],
)
def test_a_file_of_the_users_that_cannot_be_read_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    (tmp_path / "own" / "data" / "mine.yaml").write_bytes(content)
    assert said(capsys, "train", "--config-dir", "own", "data=mine").startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["x" * 5_000 + "=1"], "a file that the config names cannot be read (File name too long)."),
        (["--config-dir", "x" * 5_000], "--config-dir xxxx"),
        (["seed=" + "[" * 2_000], "'seed=[[["),
    ],
)
def test_endless_words_are_told(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert said(capsys, "train", *words).startswith(sentence)


def test_a_method_that_uses_the_recipes_of_another_is_told_of_those(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "train", "algo=l2l_anil", "recipe=nope")
    assert told.startswith("there is no recipe=nope. Possible: anil_glyphs, anil_miniimagenet, anil_omniglot.")


def test_a_recipe_that_an_experiment_of_the_users_own_names_must_be_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [{override /recipe: nope}]\n")
    told = said(capsys, "train", "--config-dir", str(tmp_path), "experiment=mine")
    assert told.startswith("there is no recipe=nope (named in experiment/mine.yaml). Possible: ")


@pytest.mark.parametrize(
    "word", [*(f"{group}=null" for group in ("recipe", "experiment", "local", "debug", "logger")), "algo=anil"]
)
def test_a_run_may_do_without_a_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str) -> None:
    seen: list[object] = []
    monkeypatch.setattr("metarun.cli.hydra_app._perform", lambda _, config, *rest: seen.append(config))
    assert run_here("train", "data=image_folder", word) == 0
    assert len(seen) == 1
