"""Explain errors of Hydra and OmegaConf in one sentence: what was asked, what is possible, which key to change."""

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml.reader import ReaderError

from metarun.config.folder import config_dir
from metarun.config.quoting import offending_character
from metarun.config.unknown_keys import describe_unknown_key
from metarun.config.yaml_keys import read_keys
from metarun.errors import UserError, did_you_mean
from metarun.system.parsing import parse_yaml
from metarun.system.paths import is_file

# OmegaConf's phrase for a type, and the phrase for users.
TYPES = {
    "to Integer": "a whole number",
    "to Float": "a number",
    "valid bool": "true or false",
    "not Optional": "a value other than null",
}


def explain(error: BaseException) -> str | None:
    """Return a message for an error in the config or its overrides, None for any other exception."""
    for kind, explanation in EXPLANATIONS:
        if isinstance(error, kind):
            return explanation(error)
    return None


def _missing_file(error: MissingConfigException) -> str:
    asked, options = error.missing_cfg_file or "", [o for o in error.options or [] if not o.endswith("_schema")]
    group, _, name = asked.rpartition("/")
    asker = re.match(r"In '(?!hydra/)(\w+/.+?)'", str(error))
    if group and not options and not asker:  # Hydra lists them for group=NAME, not for group=[NAME,…]
        options = sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
    where = f" (named in {asker[1]}.yaml)" if asker else ""
    if options:
        return f"unknown option {group}={name}{where}.{did_you_mean(name, options)} Possible: {', '.join(options)}."
    if "primary config" in str(error):
        return f"unknown config {asked!r}: {asked}.yaml is neither in conf/ nor in the --config-dir."
    return f"{asked}.yaml{where} is neither in conf/ nor in the --config-dir."


def _unreadable_override(error: OverrideParseException) -> str:
    override = error.override
    if "=" not in override:
        return f"{override!r} is not of the form key=value."
    if found := offending_character(override):
        character, quoted = found
        return f"{override!r} cannot be parsed because of the {character} in the value; quote it: {quoted}"
    return f"{override!r} cannot be parsed ({_first_line(error)})."


def _composition(error: ConfigCompositionException) -> str:
    cause, text = error.__cause__, str(error)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return _unknown_key(cause)
    if isinstance(cause, ValidationError):
        return _wrong_type(text.removeprefix("Error merging override "), cause)
    if asked := re.match(r"Ambiguous value for argument '(.*)'", text):
        key, _, values = asked[1].partition("=")
        return f"{asked[1]} has several values: add -m to run each of them, or write {key}=[{values}] for one list."
    if asked := re.match(r"Sweep parameters '(.*)' requires", text):
        return f"{asked[1]} has several values: add -m to run each of them."
    twice = r".*An item is already at '(.+?)'|(.+) appears more than once|Multiple values for (\S+)\. To override"
    if asked := re.match(twice, text):
        key = asked[1] or asked[2] or asked[3]
        return f"{key} already exists: write {key}=… without the plus sign."
    if asked := re.search(r"Could not override '(.+?)'.\s*No match in the defaults list", text):
        return f"{asked[1]} has no default option: write +{asked[1]}=… with a plus sign."
    return f"{text} {_first_line(cause)}." if isinstance(cause, OmegaConfBaseException) else text


def _unknown_key(cause: ConfigKeyError | ConfigAttributeError) -> str:
    key = str(cause.full_key)
    root = cause.parent_node._get_root() if cause.parent_node is not None else None
    keys = list(_keys(root)) if isinstance(root, DictConfig) else []
    group, leaf = key.partition(".")[0], key.rpartition(".")[2]
    optional = ("data", "algo", "logger")  # the first two in `metarun test`
    if group in optional and not any(known.startswith(f"{group}.") for known in keys):
        return f"{key} needs an option of {group}, and none is selected: add {group}=NAME."
    if group in ("algo", "backbone", "data") and (having := _options_with(group, leaf)):
        return (
            f"the chosen {group} has no key {leaf!r}; these have it: {', '.join(having)}. "
            f"`metarun train --help {group}=NAME` shows the keys of one."
        )
    return describe_unknown_key(key, keys)


def _options_with(group: str, key: str) -> list[str]:
    """Return the options of a group that have a key."""
    files = sorted((config_dir() / group).glob("*.yaml"))
    return [file.stem for file in files if key in {name.rpartition(".")[2] for name in read_keys(file)}]


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of `config`, except Hydra's own."""
    for name in config:
        key = f"{prefix}{name!s}"
        if key == "hydra":
            continue
        yield key
        if not OmegaConf.is_missing(config, name) and not OmegaConf.is_interpolation(config, str(name)):
            node = config[name]
            if isinstance(node, DictConfig):
                yield from _keys(node, f"{key}.")


def _wrong_type(override: str, cause: ValidationError) -> str:
    reason = _first_line(cause)
    wanted = next((words for phrase, words in TYPES.items() if phrase in reason), None)
    key, _, value = override.lstrip("+").partition("=")
    if key.startswith(f"{cause.full_key}."):
        must = f"must be {wanted} and " if wanted else ""
        return f"{override}: {cause.full_key} {must}has no subkeys."
    return f"{key} must be {wanted}, not {value!r}." if wanted else f"{override}: {reason}."


def _not_yaml(error: yaml.MarkedYAMLError) -> str | None:
    mark = error.problem_mark
    return f"{mark.name!s}, line {mark.line + 1}, is not valid YAML: {error.problem}." if mark else None


def _too_large(error: OverflowError) -> str | None:
    """An integer that is too large for a float; OmegaConf adds the key to Python's message."""
    key = re.search(r"full_key: (\S+)", str(error))
    return f"{key[1]} is too large for a float; the largest is {sys.float_info.max:.0e}." if key else None


def _subkey_of_null(error: AssertionError) -> str | None:
    """A key below one whose value is null; OmegaConf's assertion does not say which."""
    if "root: NoneType" not in str(error):
        return None
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    key = str(frame.f_locals["key"])
    parent = key.rpartition(".")[0]
    return f"{key} cannot be set while {parent} is null: set {parent} as a whole."


def _unresolved(error: InterpolationResolutionError | MissingMandatoryValue) -> str:
    return f"{_first_line(error)} (in the value of {error.full_key!r})."


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].removesuffix(".")


# The first match is used, so subclasses come before their bases.
EXPLANATIONS: tuple[tuple[type[BaseException], Callable[[Any], str | None]], ...] = (
    (MissingConfigException, _missing_file),
    (OverrideParseException, _unreadable_override),
    (ConfigCompositionException, _composition),
    (InstantiationException, lambda _: None),  # a bug, or its cause is a UserError
    (HydraException, str),
    (yaml.MarkedYAMLError, _not_yaml),
    (InterpolationResolutionError, _unresolved),
    (MissingMandatoryValue, _unresolved),
    (OverflowError, _too_large),
    (AssertionError, _subkey_of_null),
    (OmegaConfBaseException, lambda error: f"{_first_line(error)}."),
)


FILE_ERRORS = (UnicodeError, ReaderError, RecursionError, OSError)


def unreadable_file(folders: Sequence[Path], error: Exception) -> UserError | None:
    """Return the problem with a config file in one of the user's folders.

    None if `error`, raised while the config was composed, was not caused by a file.
    """
    if isinstance(error, HydraException | BrokenPipeError) or not isinstance(error, FILE_ERRORS):
        return None
    for file in sorted(file for folder in folders for file in folder.rglob("*.yaml") if is_file(file)):
        try:
            content = parse_yaml(file.read_bytes())
        except (OSError, ValueError) as reason:
            return UserError(f"{file} cannot be read as YAML ({reason}).")
        if not isinstance(content, dict | None):
            return UserError(f"{file} must be a mapping of keys to values.")
    if isinstance(error, RecursionError):
        return UserError("the config includes itself in its `defaults`, or is nested too deep.")
    if isinstance(error, OSError):
        return UserError(f"a file that the config refers to cannot be read ({error.strerror or error}).")
    return UserError(f"the config contains text that is not UTF-8 ({error}).")
