"""Figures of many runs by their keys, down and across; runs that differ in their seed alone share a cell."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metarun.errors import UserError, printable
from metarun.reporting.tables.flags import (
    Standing,
    by_task,
    flags_of_cells,
    marks_of_cells,
    same_tasks,
    standings,
)
from metarun.reporting.tables.render import Best
from metarun.reporting.tables.run_labels import differences
from metarun.results.metrics import metric_of
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95

Values = tuple[Any, ...]

# Runs may share a cell when they differ in their seed alone; these would make their mean mean nothing.
ALIKE = (
    *("algo", "data", "test_data", "backbone", "norm", "order", "transductive", "way", "shot"),
    *("test_way", "test_shot", "test_query", "test_tasks", "interval", "steps", "precision"),
)
NAMED = 8  # of what a sentence says is in the way
SEEDS = "Of several seeds it is the mean; sd: the standard deviation over the seeds, which ± knows nothing of."


def pivot_table(
    records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return head, rows and notes of a table with a figure for each of the rows' and the columns' values.

    Raises:
        UserError: runs that differ in more than their seed would share a cell.
    """
    down, across, cells = _laid_out(records, rows, columns)
    sharing = list(cells.values())
    found, sentence = standings(sharing)
    signs, meanings = marks_of_cells(sharing)
    texts = dict(zip(cells, map(_text, sharing, signs, found), strict=True))
    head = [*rows, *(_name(columns, at) or "accuracy %" for at in across)]
    body = [
        [
            *("–" if value is None else printable(str(value)) for value in row),
            *(texts.get((row, column), "–") for column in across),
        ]
        for row in down
    ]
    notes = [SEEDS] if any(len(each) > 1 for each in sharing) else []
    return head, body, notes + meanings + ([sentence] if sentence else [])


def pivot_figures(records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the same for programs: for each row its keys and, by the name of each column, a cell; None without runs.

    A cell holds `accuracy` or `mse`, `ci95` over tasks, `sd` over seeds, `seeds` (how many), `flags` and `standing`
    ("best", "tie" or ""). Where no keys make columns, the row holds them itself.

    Raises:
        UserError: runs that differ in more than their seed would share a cell.
    """
    down, across, cells = _laid_out(records, rows, columns)
    sharing = list(cells.values())
    found, _ = standings(sharing)
    told = {
        place: _figures(runs) | {"flags": flags, "standing": standing}
        for (place, runs), flags, standing in zip(cells.items(), flags_of_cells(sharing), found, strict=True)
    }
    if not columns:
        return [dict(zip(rows, row, strict=True)) | cell for (row, _), cell in told.items()]
    return [
        dict(zip(rows, row, strict=True)) | {_name(columns, at): told.get((row, at)) for at in across} for row in down
    ]


def flat(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return lines of `pivot_figures` for CSV: the parts of cells side by side, ``way=5 accuracy``, ``way=5 ci95``."""
    cells = [(name, value) for line in lines for name, value in line.items() if isinstance(value, dict)]
    named, parts = {name for name, _ in cells}, dict.fromkeys(part for _, cell in cells for part in cell)
    told = []
    for line in lines:
        spread: dict[str, Any] = {}
        for name, value in line.items():
            spread |= {f"{name} {part}": (value or {}).get(part) for part in parts} if name in named else {name: value}
        told.append({name: " ".join(each) if isinstance(each, list) else each for name, each in spread.items()})
    return told


def _laid_out(
    records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]
) -> tuple[list[Values], list[Values], dict[tuple[Values, Values], list[Record]]]:
    """Return the rows' values and the columns', in order, and the runs of each place that has some, row by row."""
    cells = pivot(records, rows, columns)
    down, across = in_order(cells), in_order(column for row in cells.values() for column in row)
    return down, across, {(row, at): cells[row][at] for row in down for at in across if at in cells[row]}


def _name(columns: Sequence[str], values: Values) -> str:
    """Name a column, ``way=5, shot=1``; "" where no keys make columns."""
    return printable(", ".join(f"{key}={value}" for key, value in zip(columns, values, strict=True)))


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


@dataclass(frozen=True)
class CellFigure:
    """What the runs of a cell, one for each seed, were judged by.

    Args:
        mean: accuracy or squared error.
        ci95: half-width of its 95 % interval over tasks; None where they were not the same for all seeds.
        deviation: standard deviation over the seeds; None of one seed.
    """

    mean: float
    ci95: float | None
    deviation: float | None


def cell_figure(records: Sequence[Record]) -> CellFigure:
    """Return the figure of a cell, with what its tasks and, apart from that, what its seeds say about its spread."""
    metric = metric_of(records[0])
    if len(records) == 1:
        return CellFigure(records[0][metric.key], records[0].get(metric.ci95), None)
    by_seed = [record[metric.key] for record in records]
    return CellFigure(statistics.fmean(by_seed), _over_tasks(records), statistics.stdev(by_seed))


def _over_tasks(records: Sequence[Record]) -> float | None:
    if same_tasks(records) is None:
        return None
    try:
        return mean_and_ci95(by_task(records))[1]
    except UserError:  # the figures of single tasks are not there
        return None


def in_order(values: Any) -> list[Values]:
    """Return each of the values once, in order: numbers by size, before texts."""
    return sorted(set(values), key=lambda each: tuple(map(_sortable, each)))


def _sortable(value: Any) -> tuple[bool, Any]:
    return (False, value) if isinstance(value, int | float) else (True, str(value))


def _figures(records: list[Record]) -> dict[str, Any]:
    found = cell_figure(records)
    return {metric_of(records[0]).key: found.mean, "ci95": found.ci95, "sd": found.deviation, "seeds": len(records)}


def _text(records: list[Record], signs: str, standing: Standing) -> str:
    found, metric = cell_figure(records), metric_of(records[0])
    text = metric.prefix + metric.fixed(found.mean)
    if found.ci95 is not None:
        text += f" ± {metric.fixed(found.ci95)}"
    if found.deviation is not None:
        text += f" (sd {metric.fixed(found.deviation)}, {len(records)} seeds)"
    text += signs + (" ≈" if standing == "tie" else "")
    return Best(text) if standing == "best" else text


def _check_alike(records: list[Record]) -> None:
    for key in ALIKE:
        if len({str(record.get(key)) for record in records}) > 1:
            raise UserError(_differ_in(key, records))
    if len({record["seedless_id"] for record in records if "seedless_id" in record}) > 1:
        told, keys = differences(records, averaged=["seed"])
        key = keys[0] if keys else "id"
        raise UserError(_differ_in(key, told))
    if len({record["seed"] for record in records}) < len(records):
        ids = _some([record["id"] for record in records])
        raise UserError(f"runs {ids} differ in more than their seed and would share a cell", "add id to --rows.")


def _differ_in(key: str, records: Sequence[Record]) -> str:
    values = _some(sorted({str(record.get(key)) for record in records}))
    remedy = f"add {key} to --rows or --columns, or name fewer runs"
    return f"runs that differ in {key} ({values}) would share a cell; {remedy}."


def _some(words: Sequence[str]) -> str:
    named = ", ".join(words[:NAMED])
    return named if len(words) <= NAMED else f"{named} and {len(words) - NAMED:,} more"
