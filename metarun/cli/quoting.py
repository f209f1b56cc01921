"""Values that Hydra's grammar does not read bare: those that can mean one thing only are quoted, others told how to."""

import re
import shlex
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

SPECIAL = "'\"()[]{}=,"  # what the grammar gives a meaning; other signs it refuses mean nothing in it
_WITH_MEANING = re.compile(rf"[{re.escape(SPECIAL)}\\]")


def readable(word: str) -> str:
    """Return `key=value` with quotes where the value needs some and has one meaning only, as ~/pictures has.

    Commas still part the values of a sweep. Any other word is returned as it is, and Hydra will say what is wrong.
    """
    key, equals, value = word.partition("=")
    if not equals or _WITH_MEANING.search(value.replace(",", "")) or _read(word) is not None:
        return word
    parts = [part.strip() for part in value.split(",")]
    quoted = f"{key}=" + ",".join(part if _read(f"{key}={part}") else quote(part) for part in parts)
    return quoted if all(parts) and _read(quoted) is not None else word


def quote(value: str) -> str:
    """Return a text in quotes, as Hydra reads it back."""
    mark = "'" if '"' in value else '"'
    escaped = re.sub(rf"(\\*)({mark}|$)", lambda found: found[1] * 2 + (found[2] and f"\\{found[2]}"), value)
    return f"{mark}{escaped}{mark}"


def culprit(word: str) -> tuple[str, str] | None:
    """Return the sign for which a word cannot be read, and what to type in a shell so that it stands for itself.

    None: it is not a sign of the value.
    """
    key, _, value = word.partition("=")
    signs = [sign for sign in dict.fromkeys(value) if sign in SPECIAL or _read(f"k=a{sign}b") is None]
    alone = [sign for sign in signs if _read(f"{key}={value.replace(sign, '')}") is not None]
    written = next((each for each in (_entries_quoted(key, value), f"{key}={quote(value)}") if _read(each)), None)
    return ((alone or signs)[0], shlex.quote(written)) if signs and written else None


def _entries_quoted(key: str, value: str) -> str:
    """Return a list of plain entries with those in quotes that need it; anything else as it is."""
    inner = value[1:-1]
    if not (value[:1] == "[" and value[-1:] == "]") or _WITH_MEANING.search(inner.replace(",", "").replace("=", "")):
        return f"{key}={value}"
    parts = [part.strip() for part in inner.split(",")]
    return f"{key}=[{','.join(part if _read(f'k={part}') else quote(part) for part in parts)}]"


def _read(word: str) -> Override | None:
    try:
        return _parser().parse_override(word)
    except HydraException:
        return None


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
