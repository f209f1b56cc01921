"""`metarun train --help` and the explanations that the YAML files contain."""

import re
import subprocess
import sys

import pytest
import yaml

from metarun.cli.config_help import GROUPS, KEYS, WIDTH, explain
from metarun.config.folder import config_dir
from metarun.config.yaml_keys import read_keys
from metarun.errors import UserError
from tests.cli.test_errors import error_of

FILES = sorted(config_dir().rglob("*.yaml"))


def dotted(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("command", ["train", "test"])
def test_the_screen_fits_a_terminal_and_shows_the_groups_and_keys(command):
    shown = explain(command, [])
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert shown.count("\n") < 56
    assert all(f"\n  {group} " in shown for group in GROUPS[command])
    assert all(f"\n  {key}" in shown for key in KEYS[command])


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_key_of_a_file_is_found(file):
    """Against the YAML parser, which drops the comments."""
    loaded = yaml.safe_load(file.read_text()) or {}
    outside = {name: value for name, value in loaded.items() if name not in ("defaults", "hydra", "chosen")}
    found = set(read_keys(file))
    assert found <= {"published", *dotted(loaded)} | {name.rpartition(".")[0] for name in dotted(loaded)} | found
    missing = [key for key in dotted(outside) if key not in found and not any(key.startswith(f"{k}.") for k in found)]
    assert missing == []


def test_comments_beside_above_and_on_the_next_line_belong_to_their_key(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "# About the file.\na: 1   # beside\nb:\n  # above\n  c: x\n  d: y    # beside, which goes\n"
        "               # on\n  e: {f: 1}\ng: 2\n"
    )
    found = {name: (key.value, key.comment) for name, key in read_keys(file).items()}
    assert found == {
        "a": ("1", "beside"),
        "b.c": ("x", "above"),
        "b.d": ("y", "beside, which goes on"),
        "b.e": ("{f: 1}", ""),
        "g": ("2", ""),
    }


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train.outer_lr"], "train.outer_lr=0.001   initial learning rate"),
        (["algo=maml", "--help"], "    inner_lr: 0.1                # learning rate of the inner steps"),
        (["algo.inner_lr", "algo=maml"], "    algo.inner_lr=0.1   learning rate of the inner steps"),
        (["backbone.filters"], "backbone=conv4"),
        (["task"], "  20way1shot       way=20 shot=1 query=15 within=null across=null imbalance=null"),
        (["algo"], "  anil             Almost no inner loop (Raghu et al. 2020): MAML that adapts"),
        (["train"], "train.meta_batch=4   tasks per meta-training step"),
        (["sweep"], "sweep: choose with +sweep=OPTION"),
        (["experiment"], "experiment: choose with experiment=OPTION"),
        (["-m", "algo=maml"], "algo=maml"),
        (["logger=[csv,wandb]"], "logger=wandb"),
        (["data=glyphs,omniglot"], "data=omniglot"),
        (["data=omniglot+glyphs"], "data=omniglot+glyphs mixes data sets: data.sets.NAME.KEY is a key of one of"),
        (["data=[omniglot,glyphs]"], "data=glyphs"),
    ],
)
def test_a_group_an_option_and_a_key_are_explained(words, line):
    assert line in explain("train", words).splitlines()


def test_every_option_says_what_it_is():
    for group in ("algo", "backbone", "data", "logger", "experiment"):
        options = re.findall(r"^  (\w+)(.*)", explain("train", [group]), re.MULTILINE)
        assert [option for option, about in options if not about.strip()] == []


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("algo=mamll", r"unknown option algo=mamll\. Did you mean 'maml'\?"),
        ("train.outer", r"no group or key 'train\.outer'; .* the groups\. Did you mean 'train\.outer_lr'\?$"),
        ("qqq", r"^--help qqq: there is no group or key 'qqq'; `metarun train --help` lists the groups\.$"),
    ],
)
def test_an_unknown_word_is_an_error(word, complaint):
    with pytest.raises(UserError, match=complaint):
        explain("train", [word])


def test_a_key_that_the_chosen_option_does_not_have_names_those_that_have_it():
    message = r"^--help algo\.inner_lr: algo=protonet has no such key; these have it: anil, .*, reptile\.$"
    with pytest.raises(UserError, match=message):
        explain("train", ["algo=protonet", "algo.inner_lr"])


def test_options_in_the_users_folder_are_explained(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "data" / "mine.yaml").write_bytes(
        b"# Leaves of my garden, \xff.\n_target_: garden.Leaves\nroot: leaves\n"
    )
    (tmp_path / "data" / "glyphs.yaml").write_text("# Never read: metarun's own has the first word.\n")
    (tmp_path / "own" / "some.yaml").write_text("a: 1\n")
    flags = ["--config-dir", str(tmp_path), "--help"]
    assert "omniglot, parkinsons" in explain("train", flags)
    assert "  mine             Leaves of my garden, \ufffd." in explain("train", [*flags, "data"]).splitlines()
    assert "  root: leaves" in explain("train", ["data=mine", *flags]).splitlines()
    assert "    data.root=leaves" in explain("train", ["data.root", *flags]).splitlines()
    assert "Never read" not in explain("train", ["data=glyphs", *flags])
    assert explain("train", ["own", *flags]) == "own: choose with +own=OPTION\n  some"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--config-dir", "nowhere"], "^--config-dir nowhere: no such folder"),
        (["--algo", "maml"], "^unknown flag '--algo'; write algo=maml, without dashes"),
    ],
)
def test_an_unknown_flag_beside_help_is_an_error(flags, complaint):
    with pytest.raises(UserError, match=complaint):
        explain("train", [*flags, "--help"])


@pytest.mark.parametrize("word", ["logger", "experiment=maml_omniglot_5w1s", "backbone.filters"])
def test_help_of_test_refuses_groups_of_train(word):
    with pytest.raises(UserError, match=r"^\w+ is a group of `metarun train`; `metarun test` has algo, data, task and"):
        explain("test", [word])
    assert explain("train", [word])


def test_help_does_not_import_hydra():
    code = (
        "import sys; sys.argv = ['metarun', 'help', 'train']; from metarun.cli.main import main; main(); "
        "assert not {'hydra', 'omegaconf', 'yaml', 'numpy', 'torch'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert shown.stdout.startswith("metarun train: meta-train")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["lr=0.1"], "unknown key 'lr'. Did you mean 'train.outer_lr' or 'algo.inner_lr'?"),
        (["epochs=3"], "unknown key 'epochs'. Did you mean 'train.iterations'?"),
        (["algo=protonet", "algo.inner_lr=0.1"], "the chosen algo has no key 'inner_lr'; these have it: anil, "),
        (["--algo", "maml"], "unknown flag '--algo'; write algo=maml, without dashes."),
        (["--task.way=3"], "unknown flag '--task.way=3'; write task.way=3, without dashes."),
        (["--epochs", "3"], "unknown flag '--epochs'; `metarun train --hydra-help` lists the flags."),
        (["-m", "seed=0,1", "--cfg", "job"], "--cfg shows the config of one run; give each key one value, without -m."),
        (["algo=MAML"], "unknown option algo=MAML. Did you mean 'maml'?"),
    ],
)
def test_what_a_user_of_hydra_or_of_other_programs_types_is_understood(capsys, words, complaint):
    assert error_of(capsys, "train", *words).startswith(complaint)


def test_an_experiment_may_have_a_plus_sign(capsys, metarun):
    assert metarun("train", "+experiment=maml_omniglot_5w1s", "--cfg", "job").code == 0
