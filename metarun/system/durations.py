"""Parse and format durations."""

import re

from metarun.errors import UserError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(key: str, text: str) -> float:
    """Return the seconds in the value of a key: "90s", "10m", "2h", "1h30m" or a plain number of seconds.

    Raises:
        UserError: the text is not a duration, or not above 0.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise UserError(f"{key}='{text}' is not a duration", "write it like 90s, 10m or 1h30m.")
    seconds = sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)
    if seconds <= 0:
        raise UserError(f"{key}='{text}' must be above 0", "write it like 90s, 10m or 1h30m.")
    return seconds


def format_duration(seconds: float) -> str:
    """Return "7 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short_duration(seconds: float) -> str:
    """Return "7 s", "3.3 min" or "2.1 h", for a column of a table."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def format_age(seconds: float) -> str:
    """Return an age in its largest unit: "40 s", "12 min", "3 h" or "5 days"."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * size if unit == "days" else size):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
