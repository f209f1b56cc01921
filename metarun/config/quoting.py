"""Quote override values that Hydra's grammar rejects, or show how to quote them when their meaning is ambiguous."""

import re
import shlex
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

SPECIAL = "'\"()[]{}=,"  # characters with a meaning in the grammar; it rejects others that have none
_SYNTAX = re.compile(rf"[{re.escape(SPECIAL)}\\]")


def quote_if_needed(override: str) -> str:
    """Return `key=value` with quotes if the value needs them and is unambiguous, such as ~/pictures.

    Commas still separate the values of a sweep. Any other override is returned unchanged; Hydra reports its error.
    """
    key, equals, value = override.partition("=")
    if not equals or _SYNTAX.search(value.replace(",", "")) or _parse(override) is not None:
        return override
    parts = [part.strip() for part in value.split(",")]
    quoted = f"{key}=" + ",".join(part if _parse(f"{key}={part}") else quote(part) for part in parts)
    return quoted if all(parts) and _parse(quoted) is not None else override


def quote(value: str) -> str:
    """Return a text quoted for Hydra."""
    mark = "'" if '"' in value else '"'
    escaped = re.sub(rf"(\\*)({mark}|$)", lambda found: found[1] * 2 + (found[2] and f"\\{found[2]}"), value)
    return f"{mark}{escaped}{mark}"


def offending_character(override: str) -> tuple[str, str] | None:
    """Return the character that makes an override invalid, and the override quoted for a shell.

    None if the error is not in the value.
    """
    key, _, value = override.partition("=")
    suspects = [char for char in dict.fromkeys(value) if char in SPECIAL or _parse(f"k=a{char}b") is None]
    sufficient = [char for char in suspects if _parse(f"{key}={value.replace(char, '')}") is not None]
    quoted = next((each for each in (_quote_entries(key, value), f"{key}={quote(value)}") if _parse(each)), None)
    return ((sufficient or suspects)[0], shlex.quote(quoted)) if suspects and quoted else None


def _quote_entries(key: str, value: str) -> str:
    """Quote those entries of a plain list that need it; return any other value unchanged."""
    inner = value[1:-1]
    if not (value[:1] == "[" and value[-1:] == "]") or _SYNTAX.search(inner.replace(",", "").replace("=", "")):
        return f"{key}={value}"
    parts = [part.strip() for part in inner.split(",")]
    return f"{key}=[{','.join(part if _parse(f'k={part}') else quote(part) for part in parts)}]"


def _parse(override: str) -> Override | None:
    try:
        return _parser().parse_override(override)
    except HydraException:
        return None


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
