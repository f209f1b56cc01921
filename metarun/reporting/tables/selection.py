"""Select and sort the runs of a table by keys of their rows and configs."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from metarun.errors import UserError, did_you_mean
from metarun.reporting.tables.run_labels import with_settings
from metarun.results.metrics import METRICS, metric_of
from metarun.results.records import Record

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    **{"<=": operator.le, ">=": operator.ge, "!=": operator.ne},
    **{"==": operator.eq, "=": operator.eq, "<": operator.lt, ">": operator.gt},
}
_CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|==|=|<|>)\s*(.+?)\s*")
Condition = tuple[str, str, str]  # key, operator, value as typed


def parse_conditions(text: str) -> list[Condition]:
    """Parse ``algo=maml and test_shot>=5``."""
    found = []
    for part in re.split(r"\s+and\s+", text.strip()):
        if not (condition := _CONDITION.fullmatch(part)):
            raise UserError(
                f"--where {part!r} is not of the form KEY=VALUE", "write 'algo=maml and test_shot>=5', in quotes."
            )
        found.append((condition[1], condition[2], condition[3].strip("'\"")))
    return found


def select(records: Sequence[Record], conditions: Sequence[Condition]) -> list[Record]:
    """Return the records that meet all conditions; a record without a key does not meet a condition on it.

    Raises:
        UserError: no record does.
    """
    found = [record for record in records if all(_meets(record, *condition) for condition in conditions)]
    if not found:
        written = " and ".join("".join(condition) for condition in conditions)
        keys = dict.fromkeys(key for key, *_ in conditions)
        there = "; ".join(f"{key}: {_values(records, key)}" for key in keys)
        raise UserError(f"no run has {written}", f"there are {there}.")
    return found


def _meets(record: Record, key: str, how: str, typed: str) -> bool:
    if key not in record:
        return False
    value = record[key]
    if value is None and how in ("<", "<=", ">", ">="):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return _OPERATORS[how](value, float(typed))
        except ValueError:  # not a number
            return how == "!="
    return _OPERATORS[how]("null" if value is None else str(value).casefold(), typed.casefold())


def _values(records: Sequence[Record], key: str) -> str:
    values = sorted({str(record.get(key, "none")) for record in records})
    return ", ".join(values[:8]) + (" …" if len(values) > 8 else "")


def sort_records(records: Sequence[Record], key: str) -> list[Record]:
    """Sort by a key: numbers by size, then texts; of a metric the best first; ``-key`` reverses."""
    name = key.removeprefix("-")

    def order(record: Record) -> tuple[bool, Any]:
        value = record.get(name)
        if name in {metric.key for metric in METRICS} and value is not None:
            return False, -metric_of(record).score(value)
        return (False, value) if isinstance(value, int | float) else (True, str(value))

    return sorted(records, key=order, reverse=key.startswith("-"))


def with_keys(records: list[Record], keys: Iterable[str]) -> list[Record]:
    """Return the records, with the settings of their configs if a key is one of them."""
    keys = list(keys)
    if not keys:
        return records
    if any("." in key for key in keys):
        records = with_settings(records)
    tables = {key for record in records for key, value in record.items() if isinstance(value, list | dict)}
    known = sorted({key for record in records for key in record} - tables)
    for key in keys:
        if key not in known:
            plain = ", ".join(name for name in known if "." not in name)
            raise UserError(
                f"'{key}' is not a key of a result ({plain}) or of a config, such as algo.inner_lr."
                + did_you_mean(key, known)
            )
    return records
