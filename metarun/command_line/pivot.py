"""Figures of many runs by their keys, down and across; runs that differ in their seed alone share a cell."""

from collections.abc import Sequence
from typing import Any

from metarun.display import figure, percent
from metarun.errors import UserError
from metarun.results import Record

Values = tuple[Any, ...]

# Runs may share a cell when they differ in their seed alone; these would make their mean mean nothing.
ALIKE = (
    *("algo", "data", "test_data", "backbone", "norm", "order", "transductive", "way", "shot"),
    *("test_way", "test_shot", "test_query", "test_tasks", "steps", "precision"),
)
TRANSDUCTIVE = "† transductive: queries see each other."


def pivot_table(
    records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a table with a figure for each of the rows' and the columns' values.

    Raises:
        UserError: runs that differ in more than their seed would share a cell.
    """
    cells = pivot(records, rows, columns)
    across = in_order(column for row in cells.values() for column in row)
    head = [*rows, *(", ".join(f"{key}={value}" for key, value in zip(columns, at, strict=True)) for at in across)]
    body = [
        [
            *("–" if value is None else str(value) for value in row),
            *(_text(cells[row][column]) if column in cells[row] else "–" for column in across),
        ]
        for row in in_order(cells)
    ]
    return [name or "accuracy %" for name in head], body


def pivot(
    records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]
) -> dict[Values, dict[Values, list[Record]]]:
    """Return the runs by the values of the keys in `rows`, then by those of the keys in `columns`.

    Raises:
        UserError: runs that differ in more than their seed would share a cell.
    """
    cells: dict[Values, dict[Values, list[Record]]] = {}
    for record in records:
        row, column = (tuple(record.get(key) for key in keys) for keys in (rows, columns))
        cells.setdefault(row, {}).setdefault(column, []).append(record)
    for row_cells in cells.values():
        for sharing in row_cells.values():
            _check_alike(sharing)
    return cells


def mean_figure(records: Sequence[Record]) -> tuple[float, float | None]:
    """Return the accuracy or squared error of the runs in a cell, and the half-width of its 95 % interval over tasks.

    Of several seeds it is the mean and no interval: tasks are not what they differ in.
    """
    key = "mse" if "mse" in records[0] else "accuracy"
    if len(records) == 1:
        return records[0][key], records[0].get(f"{key}_ci95")
    return sum(record[key] for record in records) / len(records), None


def in_order(values: Any) -> list[Values]:
    """Return each of the values once, in order: numbers by size, before texts."""
    return sorted(set(values), key=lambda each: tuple(map(_sortable, each)))


def _sortable(value: Any) -> tuple[bool, Any]:
    return (False, value) if isinstance(value, int | float) else (True, str(value))


def _text(records: list[Record]) -> str:
    mark = " †" if records[0]["transductive"] else ""
    if len(records) == 1:
        return figure(records[0]) + mark
    mean, _ = mean_figure(records)
    return (f"mse {mean:.4f}" if "mse" in records[0] else percent(mean)) + f" (mean of {len(records)} seeds){mark}"


def _check_alike(records: list[Record]) -> None:
    for key in ALIKE:
        values = sorted({str(record.get(key)) for record in records})
        if len(values) > 1:
            raise UserError(
                f"runs that differ in {key} ({', '.join(values)}) would share a cell; "
                f"add {key} to --rows or --columns, or name fewer runs."
            )
    if len({record["seed"] for record in records}) < len(records):
        ids = ", ".join(record["id"] for record in records)
        raise UserError(f"runs {ids} differ in more than their seed and would share a cell; add id to --rows.")
