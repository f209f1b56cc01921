"""What the values of a config may be: what JSON can say, in numbers that torch can hold."""

import math
from collections.abc import Mapping
from typing import Any

from metarun.errors import UserError

LARGEST = float.fromhex("0x1.fffffep127")  # that a float32 holds, in which networks and their rates are


def check_plain(value: Any, key: str = "") -> None:
    """Raise a UserError that names the key where a config holds what no run can take."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise UserError(f"{key or 'the config'} has a key {name!r}, which is no text", "put it in quotes.")
            check_plain(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            check_plain(item, f"{key}.{i}")
    elif fault := _fault(value):
        raise UserError(f"{key}{fault}.")


def _fault(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        bits = value.bit_length()
        return None if bits < 64 else f" is a whole number of {bits:,} bits; 63 are possible"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"={value} is not finite; give a number that is"
        return None if abs(value) <= LARGEST else f"={value} is more than a float32 holds; {LARGEST:.1e} is possible"
    if not isinstance(value, str):
        return f" is a {type(value).__name__}, which no key takes; give a text, a number, true, false or null"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"={value!a} is no text in UTF-8; give another name to what it names"
    return f"={value!a} has a NUL in it, which no text here can have" if "\0" in value else None
