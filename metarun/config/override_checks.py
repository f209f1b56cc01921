"""Refuse overrides that Hydra accepts without effect, or answers in its own terms."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from metarun.config.groups import check_groups
from metarun.config.schema import RetestConfig, RunConfig
from metarun.config.unknown_keys import has_key
from metarun.errors import UserError

ONE_OPTION = ("algo", "backbone", "data")
EMPTY = ("logger", "published", "encoder_input")  # nothing in them is needed


def check_overrides(command: str, overrides: Iterable[str], folders: Sequence[Path]) -> None:
    """Check what overrides, as Hydra takes them, do to the groups and keys of `metarun train` or `metarun test`.

    Args:
        command: "train" or "test".
        overrides: see `metarun.config.overrides.hydra_overrides`.
        folders: see `check_groups`.

    Raises:
        UserError: an override is of a group of the other command, chooses a list for a group that has one option, or
            removes what every config has.
    """
    overrides = list(overrides)
    check_groups(command, overrides, folders)
    schema = RetestConfig if command == "test" else RunConfig
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if override.startswith("~") and key not in EMPTY and has_key(schema, key):
            value = "NAME" if key in (*ONE_OPTION, "task") else "VALUE"
            raise UserError(f"{override} removes {key}, which every config has", f"write {key}={value} to change it.")
        if listed := re.fullmatch(rf"\+{{0,2}}({'|'.join(ONE_OPTION)})=\[([^\[\]]*)\]", override):
            raise UserError(
                f"{override} is a list but a run has one {listed[1]}", _instead_of_list(listed[1], listed[2])
            )


def _instead_of_list(group: str, listed: str) -> str:
    """Return the remedy for algo=[maml,fomaml]: algo=maml, or a sweep."""
    names = [name.strip() for name in listed.split(",") if name.strip()] or ["NAME"]
    sweep = f", or -m {group}={','.join(names)} for a run with each" if len(names) > 1 else ""
    return f"write {group}={names[0]}{sweep}."
