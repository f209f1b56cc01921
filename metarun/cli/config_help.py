"""`metarun train --help`: what can be set, explained by the comments of the YAML files themselves."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from metarun.config.folder import config_dir
from metarun.config.groups import TRAIN_ONLY, check_groups
from metarun.config.yaml_keys import Key, read_keys, read_text
from metarun.errors import UserError, did_you_mean

WIDTH = 80
GROUPS = {  # the choices that the screen shows, in this order
    "train": ("algo", "data", "backbone", "task", "experiment", "logger", "debug"),
    "test": ("algo", "data", "task"),
}
HIDDEN = {"train": {"hydra", "local"}, "test": {"hydra", *TRAIN_ONLY}}  # groups that no word explains
PRIMARY = {"train": "config.yaml", "test": "test.yaml"}
KEYS = {  # the keys that the screen shows
    "train": (
        *("task.way", "task.shot", "task.query", "train.iterations", "train.meta_batch", "train.outer_lr"),
        *("algo.inner_lr", "algo.inner_steps", "test.tasks", "test.steps", "seed", "device"),
    ),
    "test": ("run", "task.way", "task.shot", "test.tasks", "test.steps", "test.seed", "audit", "device"),
}
TITLES = {
    "train": "metarun train: meta-train, choose a checkpoint on meta-val, meta-test it once.",
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

MIXED = """\
data={} mixes data sets: data.sets.NAME.KEY is a key of one of
them, data.weights.NAME its share of the tasks; docs/data_mixtures.md."""


def explain(command: str, args: Sequence[str]) -> str:
    """Return the help of `metarun train` or `metarun test`.

    Args:
        command: "train" or "test".
        args: words to explain, each a group, GROUP=OPTION, or a dotted key; none: the screen of the command. Of the
            flags, `--config-dir` adds options.

    Raises:
        UserError: there is no such word or flag.
    """
    words, own = _parse(command, args)
    check_groups(command, words, [])
    folders = [config_dir(), *own]
    words = [word.lstrip("+") for word in words]
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    texts = [_explain_word(command, word, chosen, folders) for word in words]
    return "\n\n".join(texts) if texts else _screen(command, folders)


def _parse(command: str, args: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Return the words to explain, and the user's folders."""
    rest = [arg for arg in args if arg not in ("--help", "-h")]
    if not any(arg.startswith("-") for arg in rest):
        return rest, []
    from metarun.cli.hydra_app import parse_flags, user_config_dirs  # Hydra is slow to import

    flags = parse_flags(command, rest)
    return flags.overrides, user_config_dirs(flags)


def _explain_word(command: str, word: str, chosen: Mapping[str, str], folders: Sequence[Path]) -> str:
    name, equals, option = word.partition("=")
    groups = _groups(command, folders)
    if name in groups:
        return _option(name, option, folders) if equals else _group(command, name, folders)
    found = _find_key(command, name, chosen, folders)
    if not found:
        hint = did_you_mean(name, [*groups, *_all_keys(command)])
        raise UserError(
            f"--help {word}: there is no group or key {name!r}", f"`metarun {command} --help` lists the groups.{hint}"
        )
    return "\n".join(found)


def _screen(command: str, folders: Sequence[Path]) -> str:
    lines = [
        TITLES[command],
        "",
        f"usage: metarun {command} [key=value …] [group=option …] [-m] [flags]",
        "",
        "groups:",
    ]
    for group in GROUPS[command]:
        files = _files(group, folders)
        options = ", ".join(files) if group != "experiment" else _experiments([*files])
        lines += textwrap.wrap(options, WIDTH, initial_indent=f"  {group:12}", subsequent_indent=" " * 14)
    lines += ["", "some keys, with their defaults:"]
    known = _all_keys(command)
    for key in KEYS[command]:
        value = known[key].value if command == "train" and "${" not in known[key].value else ""
        comment = textwrap.shorten(known[key].comment, WIDTH - 27, placeholder=" …")
        lines.append(f"  {f'{key}={value}':24} {comment}")
    more = (
        f"--help GROUP, --help GROUP=OPTION and --help KEY explain the rest: `metarun {command} --help algo=maml`, "
        f"`metarun {command} --help test.tasks`."
    )
    return "\n".join([*lines, "", *textwrap.wrap(more, WIDTH), "", "examples:", EXAMPLES[command], "", FLAGS])


def _experiments(options: Sequence[str]) -> str:
    """Name some of the experiments, of which there are too many for the screen."""
    return f"{', '.join(options[:3])} and {len(options) - 3} more: `metarun reproduce --list`"


def _group(command: str, group: str, folders: Sequence[Path]) -> str:
    """List the options of a group with the first sentence of each file."""
    in_defaults = re.findall(r"^  - (?:optional )?(\w+):", read_text(config_dir() / PRIMARY[command]), re.MULTILINE)
    lines = [f"{group}: choose with {'' if group in in_defaults else '+'}{group}=OPTION"]
    for option, file in _files(group, folders).items():
        keys = " ".join(f"{key}={found.value}" for key, found in read_keys(file).items() if group == "task")
        about = _about(file).split(": ", 1)[-1] if group in ("experiment", "sweep") else _about(file)
        text = f"{option:16} {keys or about}"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 19)
    return "\n".join(lines)


def _option(group: str, option: str, folders: Sequence[Path]) -> str:
    """Print the file of an option: its comments explain it; of several, such as data=omniglot+glyphs, each file."""
    files = _files(group, folders)
    names = re.split(r"[+,] *" if group == "data" else r", *", option.strip("[]"))
    if option not in files and len(names) > 1:
        mixed = [MIXED.format(option)] if group == "data" and re.search(r"[+\[]", option) else []
        return "\n\n".join([*mixed, *(_option(group, name, folders) for name in names)])
    if option not in files:
        hint = did_you_mean(option, files)
        raise UserError(f"unknown option {group}={option}.{hint} Possible: {', '.join(files)}.")
    text = read_text(files[option]).removeprefix("# @package _global_").strip()
    return f"{group}={option}\n\n{textwrap.indent(text, '  ')}"


def _groups(command: str, folders: Sequence[Path]) -> list[str]:
    """Return the groups of a command in some folders of YAML files."""
    names = {path.name for folder in folders for path in folder.iterdir() if path.is_dir()} - HIDDEN[command]
    return sorted(name for name in names if _files(name, folders))


def _files(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Return the files of a group's options, sorted by name; of those with the same name, that in the first folder."""
    found = {path.stem: path for folder in reversed(folders) for path in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))


def _about(file: Path) -> str:
    """Return the comment at the top of a YAML file, on one line."""
    lines = [line for line in read_text(file).splitlines() if not line.startswith("# @package")]
    comment: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    return " ".join(comment)


def _find_key(command: str, key: str, chosen: Mapping[str, str], folders: Sequence[Path]) -> list[str]:
    """Return lines that explain a key: of the main config, else of the chosen option or of every one that has it."""
    main = read_keys(config_dir() / PRIMARY[command])
    if key in main:
        return [_line(key, main[key])]
    if below := [name for name in main if name.startswith(f"{key}.")]:
        return [_line(name, main[name]) for name in below]
    group = key.partition(".")[0]
    files = _files(group, folders) if group in _groups(command, folders) else {}
    having = {option: keys[key] for option, file in files.items() if key in (keys := _keys_of(group, file))}
    option = chosen.get(group)
    if having and option is not None and option not in having:
        raise UserError(f"--help {key}: {group}={option} has no such key", f"these have it: {', '.join(having)}.")
    shown = {option: having[option]} if option in having else having
    return [line for name, found in shown.items() for line in (f"{group}={name}", f"    {_line(key, found)}")]


def _line(key: str, found: Key) -> str:
    return "\n".join(
        textwrap.wrap(f"{key}={found.value}   {found.comment}".rstrip(), WIDTH, subsequent_indent="      ")
    )


def _keys_of(group: str, file: Path) -> dict[str, Key]:
    """Return the keys of an option, by their place in the composed config."""
    found = read_keys(file)
    is_global = read_text(file).startswith("# @package _global_")
    return found if is_global else {f"{group}.{key}": value for key, value in found.items()}


def _all_keys(command: str) -> dict[str, Key]:
    """Return the keys of the main config and of the options that it chooses by default."""
    keys = read_keys(config_dir() / PRIMARY[command])
    defaults = {"algo": "maml", "data": "glyphs", "backbone": "conv4", "task": "5way1shot"}
    for group in [each for each in defaults if each not in HIDDEN[command]]:
        keys = {**_keys_of(group, config_dir() / group / f"{defaults[group]}.yaml"), **keys}
    return keys


def config_keys() -> list[str]:
    """Return the dotted keys of `metarun train` in metarun's own YAML files."""
    groups = ("algo", "backbone", "data", "task")
    return sorted(
        {
            *_all_keys("train"),
            *(
                key
                for group in groups
                for file in _files(group, [config_dir()]).values()
                for key in _keys_of(group, file)
            ),
        }
    )
