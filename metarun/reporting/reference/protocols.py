"""The protocols of the papers beside those of metarun, read from `protocols/*.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parent / "protocols"
OWN = Path(__file__).parent / "own_recipes.yaml"
AS_THE_PAPER = "the paper's"  # the reason why a line differs from the code alone


@dataclass(frozen=True)
class Line:
    """One setting of a protocol.

    Args:
        paper: what the paper says; a trailing [m] marks what is quoted from memory.
        code: what the released code does.
        ours: metarun's value at 5 ways and 1 shot; if the setting is not a key of the config, a description.
        at: the value at the options of `task` where it is another one.
        why: why metarun differs; empty if it does not.
    """

    paper: str
    code: str
    ours: Any
    at: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def ours_text(self) -> str:
        """The value, and where it is another one."""
        elsewhere = "".join(f"; {_text(value)} at {task}" for task, value in self.at.items())
        return f"{_text(self.ours)}{elsewhere}"


@dataclass(frozen=True)
class Protocol:
    """A recipe beside its paper.

    Args:
        name: of the recipe.
        compose: the overrides of `metarun train` that select it.
        paper: authors, year and number.
        code: address of the released code.
        read: what was read, and what was not.
        lines: by key of the config, such as "train.way", or by a name without a dot for what is not a key.
    """

    name: str
    compose: str
    paper: str
    code: str
    read: str
    lines: Mapping[str, Line]

    def differences(self, config: Mapping[str, Any]) -> list[str]:
        """Return a sentence per setting in which a run differs from the paper.

        What the paper does not say is no difference, and neither is what an experiment sets by itself, to follow it.

        Args:
            config: of the run.
        """
        found = []
        for setting, line in self.lines.items():
            value = _value(config, setting, line.ours)
            differs = line.why and line.paper != "–" and not line.why.startswith(AS_THE_PAPER)
            if differs and value in (line.ours, *line.at.values()):
                found.append(f"{setting}: {_text(value)} instead of {line.paper} (code: {line.code}); {line.why}")
        return found


@cache
def protocols() -> Mapping[str, Protocol]:
    """Return the protocol of each recipe that follows a paper, by name; those of one paper follow each other."""
    found: dict[str, Protocol] = {}
    read = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FILES.glob("*.yaml"))}
    lines = {name: each for file in read.values() for name, each in file["protocols"].items()}

    def lines_of(name: str) -> dict[str, Line]:
        inherited = lines_of(lines[name]["like"]) if "like" in lines[name] else {}
        return {**inherited, **{setting: Line(**line) for setting, line in lines[name]["lines"].items()}}

    for file in read.values():
        for name, each in file["protocols"].items():
            about = {key: file[key] for key in ("paper", "code", "read")}
            found[name] = Protocol(name, each["compose"], lines=lines_of(name), **about)
    return found


@cache
def own_recipes() -> Mapping[str, str]:
    """Return the recipes that follow no paper's protocol, and what they are instead, by name."""
    found: dict[str, str] = yaml.safe_load(OWN.read_text(encoding="utf-8"))
    return found


def _value(config: Mapping[str, Any], setting: str, otherwise: Any) -> Any:
    """Return the value of a key such as "train.way", or `otherwise` if the setting is not a key."""
    group, _, key = setting.partition(".")
    return config[group].get(key, otherwise) if key else otherwise


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
