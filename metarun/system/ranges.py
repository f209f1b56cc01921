"""A whole number, or a range of whole numbers as text: "5..20", of which both ends are included."""

import re
from typing import Any

from metarun.errors import UserError

_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")


def parse_range(key: str, value: Any) -> int | str:
    """Return the value of a key, a number or a range; a range of one number as that number.

    Raises:
        UserError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 10:  # quoted in YAML
        return int(value)
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        shown = "null" if value is None else value
        raise UserError(f"{key}={shown} is not a whole number", f"set `{key}` to one, or to a range such as 5..20.")
    low, high = map(int, found.groups())
    if low > high:
        raise UserError(f"{key}={value} is an empty range", f"write the smaller number first: {high}..{low}.")
    return low if low == high else f"{low}..{high}"


def ends(value: int | str) -> tuple[int, int]:
    """Return the smallest and the largest number of what `parse_range` returned."""
    if isinstance(value, int):
        return value, value
    low, _, high = value.partition("..")
    return int(low), int(high)


def is_range(value: Any) -> bool:
    """Whether a value is a range of at least two numbers, none of which is 0."""
    return isinstance(value, str) and _RANGE.fullmatch(value) is not None and 0 < ends(value)[0] < ends(value)[1]
