"""The command line from outside: help, commands, exit codes, sweeps, a stored config, completion."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from omegaconf import DictConfig

from metarun.cli import main as cli
from metarun.cli.completion import ARGUMENTS
from metarun.cli.first_words import say
from metarun.cli.help_width import fit
from metarun.cli.parser import CommandParser
from metarun.cli.trust import TRUST_HELP
from metarun.config.compose import resolve, stored_yaml
from metarun.config.schema import Config
from metarun.errors import Interrupted, RunFailed, UserError
from metarun.system.version import __version__
from tests.support.commands import replace_runs, run_here, run_process

pytestmark = pytest.mark.command

SECONDS = 60  # timeout of each command

# The stubs of `train` and `retest` in these tests record their config and raise the error for its way.
FAILURES = {
    500: UserError("way=500 but split 'val' has 12 classes;\n  lower `task.way`."),
    501: RunFailed("the loss became NaN at step 3."),
    502: Interrupted(15),
    503: KeyError("a bug"),
}

BASIC = "hydra/launcher=basic"  # runs jobs in this process, where the stubs record their configs


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Config]:
    """The resolved configs that the stubs of `train` and `retest` received, in an empty current folder."""
    seen: list[Config] = []

    def record(config: DictConfig, *_: object) -> None:
        seen.append(resolve(config))
        if config.task.way in FAILURES:
            raise FAILURES[config.task.way]

    replace_runs(monkeypatch, record)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return seen


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_shows_every_command_and_examples(words: list[str]) -> None:
    shown = run_process(*words)
    assert shown.returncode == 0
    assert [command for command in cli.COMMANDS if f"  {command} " not in shown.stdout] == [], shown.stdout
    assert "metarun train algo=maml" in shown.stdout
    assert not shown.stderr


def test_version_matches_the_package(metarun) -> None:
    assert run_process("--version").stdout == f"metarun {__version__}\n"
    assert metarun("version").out == f"metarun {__version__}\n"


def test_the_first_words_are_said_before_anything_heavy_is_imported() -> None:
    code = """
import sys
from metarun.cli import main as cli
def say(text):
    print(text, bool({"hydra", "omegaconf", "numpy", "torch"} & set(sys.modules)))
    sys.exit()
cli.say = say
cli.run_command(["train", "algo=maml"])
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS, capture_output=True, text=True)
    assert said.stdout == "reading the config … False\n"


def test_the_first_words_are_only_for_a_terminal(capsys, monkeypatch) -> None:
    say("loading torch …")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say("loading torch …")
    assert capsys.readouterr().err == "loading torch …\r", "what is printed next replaces it"


def test_unknown_command_is_reported_in_one_sentence() -> None:
    failed = run_process("trian")
    assert failed.returncode == 2
    assert failed.stderr.startswith("metarun: error: unknown command 'trian'. Did you mean 'train'? Commands: train,")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["train", "--cfg", "job"], ["train", "--help"], ["nonsense"]])
def test_light_commands_import_no_torch(words: list[str]) -> None:
    code = f"""
import sys
from metarun.cli import main as cli
sys.argv = ["metarun", *{words!r}]
cli.main()
heavy = {{"torch", "pandas", "matplotlib", "rich"}} & set(sys.modules)
assert not heavy, heavy
assert {words[0]!r} == "train" or not {{"hydra", "omegaconf", "yaml"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=SECONDS, capture_output=True)


def test_a_broken_pipe_is_not_an_error() -> None:
    command = f"{sys.executable} -m metarun train --help | head -1"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert shown.stdout.startswith("metarun train:")
    assert not shown.stderr


@pytest.mark.parametrize("words", [["--help"], ["data", "list"], ["reproduce", "--list"]])
def test_a_command_whose_pipe_is_closed_ends_as_by_sigpipe_and_says_nothing(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "metarun", *words]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_train_and_test_pass_the_composed_config_to_the_run(calls: list[Config]) -> None:
    assert run_here("train", "algo=protonet", "task=20way5shot", "seed=3") == 0
    assert run_here("test", "run=0a1b", "task.way=7") == 0
    trained, retested = calls
    assert (trained["seed"], trained["task"]["way"], trained["task"]["shot"]) == (3, 20, 5)
    assert trained["chosen"]["algo"] == "protonet"
    assert (retested["run"], retested["task"]["way"], retested["task"]["shot"]) == ("0a1b", 7, None)
    assert not list(Path.cwd().iterdir()), "Hydra left files behind"


@pytest.mark.slow
def test_overrides_can_be_on_both_sides_of_a_flag(calls: list[Config]) -> None:
    assert run_here("train", "task.way=3", "-m", "seed=1,2", "task.shot=1,5", BASIC) == 0
    assert [(c["task"]["way"], c["seed"], c["task"]["shot"]) for c in calls] == [
        (3, 1, 1),
        (3, 1, 5),
        (3, 2, 1),
        (3, 2, 5),
    ]


@pytest.mark.parametrize(
    ("way", "code", "sentence"),
    [
        (500, 2, "metarun: error: way=500 but split 'val' has 12 classes; lower `task.way`.\n"),
        (501, 1, "metarun: error: the loss became NaN at step 3.\n"),
        (502, 143, "metarun: stopped; rerun the same command to resume.\n"),
    ],
)
def test_expected_failures_print_one_line_and_set_the_exit_code(
    calls: list[Config], capsys: pytest.CaptureFixture[str], way: int, code: int, sentence: str
) -> None:
    assert run_here("train", f"task.way={way}") == code
    assert capsys.readouterr().err == sentence


def test_a_bug_keeps_its_traceback_without_hydras_frames(
    calls: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("train", "task.way=503") == 1
    shown = capsys.readouterr().err
    assert "KeyError: 'a bug'" in shown
    assert "/hydra/" not in shown


def test_a_sweep_continues_after_a_failed_job_and_exits_with_its_code(
    calls: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("train", "-m", "task.way=2,501,500,3", BASIC) == 1
    assert [c["task"]["way"] for c in calls] == [2, 501, 500, 3]
    shown = capsys.readouterr().err
    assert "metarun: error: [task.way=501] the loss became NaN at step 3.\n" in shown
    assert "metarun: error: [task.way=500] way=500 but split 'val' has 12 classes; lower `task.way`.\n" in shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_a_signal_ends_a_sweep(calls: list[Config]) -> None:
    assert run_here("train", "-m", "task.way=2,502,3", BASIC) == 143
    assert [c["task"]["way"] for c in calls] == [2, 502]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["train"], ["train", "-m"]])
def test_a_sweep_from_yaml_needs_no_flag_and_the_command_line_overrides_it(
    calls: list[Config], words: list[str]
) -> None:
    assert run_here(*words, "+sweep=task_sizes", "task.shot=2,3", "algo=protonet", BASIC) == 0
    assert [(c["task"]["way"], c["task"]["shot"]) for c in calls] == [(5, 2), (5, 3), (20, 2), (20, 3)]
    assert {c["chosen"]["algo"] for c in calls} == {"protonet"}


@pytest.mark.slow
def test_two_sweeps_from_yaml_are_multiplied(calls: list[Config]) -> None:
    assert run_here("train", "+sweep=[task_sizes,seeds]", "task.shot=1", BASIC) == 0
    assert [(c["task"]["way"], c["seed"]) for c in calls] == [(way, seed) for way in (5, 20) for seed in range(3)]


def test_a_finished_run_can_be_tested_on_a_sweep_of_task_sizes(calls: list[Config]) -> None:
    assert run_here("test", "run=0a1b", "+sweep=task_sizes", "task.way=5", BASIC) == 0
    assert [(c["run"], c["task"]["way"], c["task"]["shot"]) for c in calls] == [("0a1b", 5, 1), ("0a1b", 5, 5)]


def test_a_users_sweep_can_set_its_folder_and_keys(calls: list[Config]) -> None:
    Path("own/sweep").mkdir(parents=True)
    Path("own/sweep/mine.yaml").write_text(
        "# @package _global_\n"
        "train: {iterations: 7}\n"
        "hydra: {mode: MULTIRUN, sweep: {dir: mine}, sweeper: {params: {seed: '3,4'}}}\n"
    )
    assert run_here("train", "+sweep=mine", "--config-dir", "own", BASIC) == 0
    assert [(c["seed"], c["train"]["iterations"]) for c in calls] == [(3, 7), (4, 7)]
    assert Path("mine").is_dir()
    assert not Path("results").exists()


def test_a_stored_config_can_be_run_and_leaves_no_files_behind(calls: list[Config]) -> None:
    assert run_here("train", "algo=protonet", "data=omniglot", "task.way=7") == 0
    folder = Path("runs") / "one"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(stored_yaml(calls[0], "train"))
    before = sorted(Path.cwd().rglob("*"))
    assert run_here("train", "--config-path", "runs/one", "--config-name", "config") == 0
    assert run_here("train", "-cp", "runs/one", "task.way=9") == 0
    assert calls[1] == calls[0]
    assert calls[2]["task"]["way"] == 9
    assert sorted(Path.cwd().rglob("*")) == before


def test_hydra_full_error_shows_the_traceback() -> None:
    failed = run_process("train", "task.wya=5", HYDRA_FULL_ERROR="1")
    assert failed.returncode == 2
    assert "ConfigCompositionException" in failed.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("metarun ", list(cli.COMMANDS)),
        ("metarun tr", ["train"]),
        ("metarun train ta", ["task.", "task="]),
        ("metarun train task=5", ["task=5way1shot", "task=5way5shot"]),
        ("metarun train algo=protonet algo.di", ["algo.distance="]),
        ("metarun train +sw", ["+sweep="]),
        ("metarun train +sweep=ta", ["+sweep=task_sizes"]),
        ("metarun train -m algo=proto", ["algo=protonet"]),
        ("metarun test ru", ["run="]),
        ("metarun data ", ["list", "get", "check"]),
        ("metarun data get omni", ["omniglot"]),
        ("metarun data get omniglot ", []),
        ("metarun compare --form", ["--format"]),
        ("metarun plot he", ["heatmap"]),
        ("metarun adapt su", ["support="]),
        ("metarun predict run=0a1b2c3d --pi", ["--picture"]),
        ("metarun rerun --de", ["--device"]),
        ("metarun plot curve --aga", ["--against"]),
        ("metarun compare --rows algo.inner_st", ["algo.inner_steps"]),
        ("metarun compare --show algo,train.outer_l", ["algo,train.outer_lr", "algo,train.outer_lr_end"]),
        ("metarun compare --against 0", ["0a1b2c3d"]),
        ("metarun test run=", ["run=0a1b2c3d", "run=last", "run=best"]),
        ("metarun diff la", ["last"]),
        ("metarun nonsense ", []),
    ],
)
def test_completion_prints_the_matching_options(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    line: str,
    offered: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/runs/maml-glyphs-5w1s-0a1b2c3d").mkdir(parents=True)
    monkeypatch.setenv("COMP_LINE", line)
    assert run_here("-sc", "query=bash") == 0
    assert capsys.readouterr().out.split() == offered


@pytest.mark.parametrize("command", [command for command in cli.COMMANDS if command not in ("train", "test")])
def test_completion_offers_what_the_command_takes(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    class Parsing(Exception):  # noqa: N818, it stops a command once its parser is complete
        pass

    def stop(parser: CommandParser, _: Sequence[str]) -> NoReturn:
        raise Parsing(parser)

    monkeypatch.setattr(CommandParser, "parse_args", stop)
    monkeypatch.setattr(CommandParser, "parse_intermixed_args", stop)
    with pytest.raises(Parsing) as stopped:
        cli.run_command([command])
    not_offered = {"key=", "--help"} if command == "data" else set()  # what follows depends on the words before
    assert {*ARGUMENTS[command]} == {*_words_of(stopped.value.args[0])} - not_offered


def _words_of(parser: CommandParser) -> Iterator[str]:
    """Yield the long flags, the subcommands and the keys, such as ``run=``, that a parser takes."""
    for action in parser._actions:
        yield from (flag for flag in action.option_strings if flag.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for subcommand, subparser in action.choices.items():
                yield from (subcommand, *_words_of(subparser))
        elif not action.option_strings:
            yield from re.findall(r"\b[a-z]+=", str(action.metavar))
            if TRUST_HELP in str(action.help):  # taken before the parser sees it
                yield "trust="


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_metarun_only(shell: str) -> None:
    script = run_process("-sc", f"install={shell}").stdout
    assert "metarun" in script
    assert "metarun train" not in script


def test_completion_works_in_a_real_bash(tmp_path: Path) -> None:
    command = tmp_path / "metarun"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m metarun "$@"\n')
    command.chmod(0o755)
    script = """
eval "$(metarun -sc install=bash)"
COMP_LINE="metarun train algo=proto" COMP_POINT=24 COMP_WORDS=(metarun train algo=proto) COMP_CWORD=2
hydra_bash_completion
echo "${COMPREPLY[*]}"
"""
    shown = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert shown.stdout.strip() == "algo=protonet"


@pytest.mark.parametrize("command", [[], ["compare"], ["plot"], ["reproduce"], ["export"]])
def test_help_fits_a_terminal_of_eighty_columns(metarun, monkeypatch, command: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = metarun(*command, "--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  metarun ") for line in lines)


def test_an_example_too_wide_for_the_terminal_is_two_lines(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert fit("  metarun runs      every run there is\n  short   fits\n") == (
        "  metarun runs\n      every run there is\n  short   fits\n"
    )
