"""Config values: flat by dotted key, and the check that they are JSON values with numbers that torch can hold."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from metarun.errors import UserError

LARGEST = float.fromhex("0x1.fffffep127")  # the largest float32, the type of networks and learning rates


def dotted(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings, with their dotted keys."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def value_at(config: Any, key: str) -> Any:
    """Return the value at a dotted key of nested mappings; None if there is none."""
    for name in key.split("."):
        if not isinstance(config, Mapping) or name not in config:
            return None
        config = config[name]
    return config


def check_plain(value: Any, key: str = "") -> None:
    """Raise a UserError with the key of the first value that is not allowed."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise UserError(f"{key or 'the config'} has a key {name!r}, which is not a string", "put it in quotes.")
            check_plain(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            check_plain(item, f"{key}.{i}")
    elif problem := _problem(value):
        raise UserError(f"{key}{problem}.")


def _problem(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        bits = value.bit_length()
        return None if bits < 64 else f" is an integer of {bits:,} bits; at most 63 are possible"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"={value} is not finite; use a finite number"
        too_large = f"={value} is too large for a float32; at most {LARGEST:.1e} is possible"
        return too_large if abs(value) > LARGEST else None
    if not isinstance(value, str):
        return f" is a {type(value).__name__}, which no key takes; use a string, a number, true, false or null"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"={value!a} is not valid UTF-8; rename what it refers to"
    return f"={value!a} contains a NUL, which is not allowed" if "\0" in value else None
