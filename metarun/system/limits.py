"""Refuse an argument that is out of range, by the name of its config key."""

from collections.abc import Iterable

from metarun.errors import UserError


def check_at_least(key: str, value: float, least: float) -> None:
    """Raise a UserError for a value below `least`."""
    if not value >= least:  # NaN is refused too
        raise UserError(f"{key}={value} but it must be at least {least}", f"raise `{key}`.")


def check_above(key: str, value: float, limit: float) -> None:
    """Raise a UserError for a value that is not above `limit`."""
    if not value > limit:
        raise UserError(f"{key}={value} but it must be above {limit}", f"raise `{key}`.")


def check_data_between(key: str, value: float, least: float, most: float) -> None:
    """Raise a UserError for an argument of a data set that is not from `least` to `most`."""
    if not least <= value <= most:
        raise UserError(f"{key}={value} but it must be from {least} to {most:,}", f"correct `data.{key}`.")


def check_one_of(key: str, value: str, options: Iterable[str]) -> None:
    """Raise a UserError for a value that is not one of the options."""
    if value not in (known := tuple(options)):
        raise UserError(f"{key}='{value}' is not one of {', '.join(known)}.")
