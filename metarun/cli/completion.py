"""Tab completion of commands, their arguments, runs and keys. Shells call it as `metarun -sc query=SHELL`."""

import os
from collections.abc import Iterable
from pathlib import Path

# Arguments of the commands that do not use Hydra; `metarun data get` is followed by a data set. They are listed here
# because the modules with the parsers take a second to import; a test compares the two.
_LEARNER = ("run=", "support=", "trust=", "--output", "--results-dir", "--steps", "--invert", "--help")
_KINDS = ("curve", "heatmap", "forest", "pareto", "ranks", "tasks")
_OF_ROWS = ("--rows", "--columns", "--where", "--sort", "--show", "--only", "--each-seed")
ARGUMENTS = {
    "adapt": _LEARNER,
    "predict": ("query=", *_LEARNER, "--picture"),
    "data": ("list", "get", "check"),
    "runs": ("--state", "--results-dir", "--help"),
    "publish": ("run=", "trust=", "--output", "--results-dir", "--help"),
    "import": ("--results-dir", "--help"),
    "rm": ("--results-dir", "--help"),
    "diff": ("--results-dir", "--help"),
    "compare": (*_OF_ROWS, "--against", "--format", "--help"),
    "rerun": ("trust=", "--results-dir", "--into", "--device", "--help"),
    "reproduce": ("--list", "--table", "--protocol", "--seeds", "--keep", "--format", "--results-dir", "--help"),
    "report": ("--output", "--help"),
    "export": ("run=", "format=", "trust=", "--output", "--results-dir", "--steps", "--way", "--tasks", "--help"),
    "plot": (*_KINDS, "--output", "--width", "--against", "--cost", "--help"),
    "doctor": ("--results-dir", "--help"),
}
TAKE_RUNS = ("rm", "diff", "rerun", "plot")  # as plain words; others take run=RUN
TAKE_KEYS = ("--rows", "--columns", "--sort", "--show", "--where")


def complete(args: list[str], commands: Iterable[str]) -> int:
    """Print the shell function (``install=bash``) or, for ``query=bash``, the completions of ``COMP_LINE``."""
    if not args or not args[0].startswith("query="):
        from metarun.cli.hydra_app import run_under_hydra

        return run_under_hydra("train", ["-sc", *args])  # the shell function is the same for every command
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    if len(typed) < 2 or (len(typed) == 2 and not line[-1].isspace()):
        _print_matches(commands, typed[1] if len(typed) > 1 else "")
    elif not line[-1].isspace() and typed[-1].startswith("run="):
        _print_matches((f"run={run}" for run in _runs()), typed[-1])
    elif typed[1] in ("train", "test") and (options := _options(line, typed)):
        _print_matches(options, typed[-1])
    elif typed[1] in ("train", "test"):
        from metarun.cli.hydra_app import run_under_hydra

        os.environ["COMP_LINE"] = f"{typed[0]} {line.split(typed[1], 1)[1].lstrip()}"
        return run_under_hydra(typed[1], ["-sc", *args])
    elif typed[1] in ARGUMENTS:
        _complete_arguments(typed[1], typed[2:], line[-1].isspace())
    return 0


def _complete_arguments(command: str, args: list[str], new_word: bool) -> None:
    done, current = (args, "") if new_word or not args else (args[:-1], args[-1])
    before = done[-1] if done else ""
    if before in TAKE_KEYS:
        listed, comma, last = current.rpartition(",")
        _print_matches((f"{listed}{comma}{key}" for key in _keys()), f"{listed}{comma}{last}")
    elif before == "--against" and command == "compare":
        _print_matches(_runs(), current)
    elif command == "data" and done in (["get"], ["check"]):
        from metarun.cli.data import names

        _print_matches(names(), current)
    elif command == "reproduce":
        _print_matches([*ARGUMENTS[command], *_names_in("experiment")], current)
    elif command != "data" or not done:
        _print_matches([*ARGUMENTS[command], *(_runs() if command in TAKE_RUNS else [])], current)


def _runs() -> list[str]:
    """Return the ids of the runs in results/, and the names that stand for one."""
    ids = sorted(path.name.rpartition("-")[2] for path in Path("results/runs").glob("*-*"))
    return [*ids, "last", "best"] if ids else []


def _options(line: str, typed: list[str]) -> list[str]:
    """Return ``algo=maml``, … if ``algo=`` is being typed; [] where that takes Hydra, which is slow to import."""
    group, equals, _ = typed[-1].partition("=")
    elsewhere = any(word.startswith(("-", "hydra.")) for word in typed)  # flags and keys that name more folders
    if not equals or line[-1].isspace() or "/" in group or elsewhere:
        return []
    return [f"{group}={name}" for name in _names_in(group.lstrip("+"))]


def _names_in(group: str) -> list[str]:
    """Return the names of the options in a folder of conf/."""
    from metarun.config.folder import config_dir

    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml")) if group else []


def _keys() -> list[str]:
    """Return the keys of rows, and those of configs."""
    from metarun.cli.config_help import config_keys
    from metarun.results.record_schema import KINDS

    return sorted({*KINDS, *config_keys()})


def _print_matches(options: Iterable[str], prefix: str) -> None:
    print("\n".join(option for option in options if option.startswith(prefix)))
