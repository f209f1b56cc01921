"""How the tasks of a run are named in tables and titles: 5w1s, 20-way 1-shot within alphabet."""

from typing import Literal

from metarun.results.metrics import metric_of
from metarun.results.records import Record

# How `task.within` and the like are written before their values.
WORDS = {"within": "within", "across": "across", "imbalance": "unequal by"}

DRAWN = tuple(f"test_{key}" for key in WORDS)


def drawn_how(record: Record) -> tuple[str, ...]:
    """Return what a run's meta-test tasks were drawn by besides their sizes; "" for each that was null."""
    return tuple(record.get(key) or "" for key in DRAWN)


def short_setting(record: Record, of: Literal["test_", ""] = "test_") -> str:
    """Return the setting that a run was tested in ("test_") or made for (""): "5w1s", "20w1s within alphabet"."""
    return f"{record[f'{of}way']}w{record[f'{of}shot']}s{_drawn(record, of)}"


def long_setting(record: Record) -> str:
    """Return the setting that a run was tested in: "20-way 1-shot within alphabet", "10 support points"."""
    text = metric_of(record).setting.format_map(record)
    if text == "1 support points":
        text = text.removesuffix("s")
    return text + _drawn(record, "test_")


def _drawn(record: Record, of: str) -> str:
    values = [(how, record.get(f"{of}{key}")) for key, how in WORDS.items()]  # older rows do not have them
    return "".join(f" {how} {value}" for how, value in values if value)
