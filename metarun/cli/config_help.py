"""`metarun train --help`: what can be set, explained by the comments of the YAML files themselves."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from metarun.config.folder import config_dir
from metarun.config.override_checks import check_groups
from metarun.config.yaml_keys import Key, read_keys
from metarun.errors import UserError, did_you_mean

WIDTH = 80
GROUPS = {  # the choices that the screen shows, in this order
    "train": ("algo", "data", "backbone", "task", "experiment", "logger", "debug"),
    "test": ("algo", "data"),
}
PRIMARY = {"train": "config.yaml", "test": "test.yaml"}
KEYS = {  # the keys that the screen shows
    "train": (
        *("task.way", "task.shot", "task.query", "train.iterations", "train.meta_batch", "train.outer_lr"),
        *("algo.inner_lr", "algo.inner_steps", "test.tasks", "test.steps", "seed", "device"),
    ),
    "test": ("run", "task.way", "task.shot", "test.tasks", "test.steps", "test.seed", "audit", "device"),
}
TITLES = {
    "train": "metarun train: meta-train, choose on meta-val, meta-test once, write one row.",
    "test": "metarun test: meta-test a finished run on other tasks or data.",
}
EXAMPLES = {
    "train": """\
  metarun train algo=protonet data=omniglot       with the paper's settings
  metarun train algo=maml debug=smoke             a whole run in seconds
  metarun train -m algo=maml,protonet 'seed=range(3)'    a sweep: six runs
  metarun train +sweep=seeds algo=protonet        a sweep from YAML, without -m
  metarun train algo=maml --cfg job               print the config and stop""",
    "test": """\
  metarun test run=RUN task.way=20 task.shot=5
  metarun test -m run=RUN task.way=5,10,20 task.shot=1,5
  metarun test run=last algo=simpleshot""",
}
FLAGS = """\
flags:
  --config-dir DIR adds your own algo/, data/ … folders; --info defaults shows
  where each value comes from; --hydra-help lists Hydra's flags."""


def explain(command: str, args: Sequence[str]) -> str:
    """Return the help of `metarun train` or `metarun test`.

    Args:
        command: "train" or "test".
        args: words to explain, each a group, GROUP=OPTION, or a dotted key; none: the screen of the command. Flags are
            ignored.

    Raises:
        UserError: there is no such word.
    """
    words = [arg.lstrip("+") for arg in args if not arg.startswith("-")]
    check_groups(command, words, [])
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    texts = [_explain_word(command, word, chosen.get("algo")) for word in words]
    return "\n\n".join(texts) if texts else _screen(command)


def _explain_word(command: str, word: str, algo: str | None) -> str:
    name, equals, option = word.partition("=")
    folders = [path.name for path in config_dir().iterdir() if path.is_dir()]
    groups = sorted(set(folders) - {"hydra", "local"})
    if name in groups:
        return _option(name, option) if equals else _group(name)
    found = _find_key(command, name, algo)
    if not found:
        known = [*groups, *_all_keys(command)]
        raise UserError(
            f"--help {word}: there is no group or key {name!r}.{did_you_mean(name, known)}",
            f"`metarun {command} --help` lists the groups.",
        )
    return "\n".join(found)


def _screen(command: str) -> str:
    lines = [
        TITLES[command],
        "",
        f"usage: metarun {command} [key=value …] [group=option …] [-m] [flags]",
        "",
        "groups:",
    ]
    for group in GROUPS[command]:
        options = ", ".join(_options(group)) if group != "experiment" else _experiments()
        lines += textwrap.wrap(options, WIDTH, initial_indent=f"  {group:12}", subsequent_indent=" " * 14)
    lines += ["", "some keys, with their defaults:"]
    known = _all_keys(command)
    for key in KEYS[command]:
        value = known[key].value if command == "train" and "${" not in known[key].value else ""
        comment = textwrap.shorten(known[key].comment, WIDTH - 27, placeholder=" …")
        lines.append(f"  {f'{key}={value}':24} {comment}")
    more = (
        f"--help GROUP, --help GROUP=OPTION and --help KEY explain the rest: `metarun {command} --help algo=maml`, "
        f"`metarun {command} --help train.outer_lr`."
    )
    return "\n".join([*lines, "", *textwrap.wrap(more, WIDTH), "", "examples:", EXAMPLES[command], "", FLAGS])


def _experiments() -> str:
    """Name some of the experiments, of which there are too many for the screen."""
    options = _options("experiment")
    return f"{', '.join(options[:3])} and {len(options) - 3} more: `metarun reproduce --list`"


def _group(group: str) -> str:
    """List the options of a group with the first sentence of each file."""
    lines = [f"{group}: choose with {group}=OPTION"]
    for option in _options(group):
        file = config_dir() / group / f"{option}.yaml"
        keys = " ".join(f"{key}={found.value}" for key, found in read_keys(file).items() if group == "task")
        about = _about(file).split(": ", 1)[-1] if group in ("experiment", "sweep") else _about(file)
        lines += textwrap.wrap(keys or about, WIDTH, initial_indent=f"  {option:16} ", subsequent_indent=" " * 19)
    return "\n".join(lines)


def _option(group: str, option: str) -> str:
    """Print the file of an option: its comments explain it."""
    options = _options(group)
    if option not in options:
        hint = did_you_mean(option, options)
        raise UserError(f"unknown option {group}={option}.{hint} Possible: {', '.join(options)}.")
    text = (config_dir() / group / f"{option}.yaml").read_text()
    return f"{group}={option}\n\n{textwrap.indent(text.removeprefix('# @package _global_').strip(), '  ')}"


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def _about(file: Path) -> str:
    """Return the comment at the top of a YAML file, on one line."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    comment: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    return " ".join(comment)


def _find_key(command: str, key: str, algo: str | None) -> list[str]:
    """Return lines that explain a key: of the main config, else of every option that has it."""
    main = read_keys(config_dir() / PRIMARY[command])
    if key in main:
        return [_line(key, main[key])]
    if below := [name for name in main if name.startswith(f"{key}.")]:
        return [_line(name, main[name]) for name in below]
    group = key.partition(".")[0]
    found = []
    for option in _options(group) if (config_dir() / group).is_dir() else []:
        if algo is None or group != "algo" or option == algo:
            keys = _keys_of(group, option)
            found += [f"{group}={option}", f"    {_line(key, keys[key])}"] if key in keys else []
    return found


def _line(key: str, found: Key) -> str:
    return "\n".join(
        textwrap.wrap(f"{key}={found.value}   {found.comment}".rstrip(), WIDTH, subsequent_indent="      ")
    )


def _keys_of(group: str, option: str) -> dict[str, Key]:
    """Return the keys of an option, by their place in the composed config."""
    file = config_dir() / group / f"{option}.yaml"
    found = read_keys(file)
    is_global = file.read_text().startswith("# @package _global_")
    return found if is_global else {f"{group}.{key}": value for key, value in found.items()}


def _all_keys(command: str) -> dict[str, Key]:
    """Return the keys of the main config and of the options that it chooses by default."""
    keys = read_keys(config_dir() / PRIMARY[command])
    defaults = {"algo": "maml", "data": "glyphs", "backbone": "conv4", "task": "5way1shot"}
    for group, option in defaults.items():
        keys = {**_keys_of(group, option), **keys}
    return keys


def config_keys() -> list[str]:
    """Return the dotted keys of `metarun train` in metarun's own YAML files."""
    groups = ("algo", "backbone", "data", "task")
    return sorted(
        {
            *_all_keys("train"),
            *(key for group in groups for option in _options(group) for key in _keys_of(group, option)),
        }
    )
