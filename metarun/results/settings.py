"""How the tasks of a run are called in tables and titles: 5w1s, 20-way 1-shot within alphabet."""

from typing import Literal

from metarun.results.metrics import metric_of
from metarun.results.records import Record


def short_setting(record: Record, of: Literal["test_", ""] = "test_") -> str:
    """Return the setting that a run was tested in ("test_") or made for (""): "5w1s", "20w1s within alphabet"."""
    return f"{record[f'{of}way']}w{record[f'{of}shot']}s{_within(record, of)}"


def long_setting(record: Record) -> str:
    """Return the setting that a run was tested in: "20-way 1-shot within alphabet", "10 support points"."""
    text = metric_of(record).setting.format_map(record)
    if text == "1 support points":
        text = text.removesuffix("s")
    return text + _within(record, "test_")


def _within(record: Record, of: str) -> str:
    group = record.get(f"{of}within")  # older rows do not have it
    return f" within {group}" if group else ""
