"""Pivot tables of runs by keys of their rows; runs that differ only in their seed share a cell."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarun.errors import UserError, printable
from metarun.reporting.tables.flags import Rank, by_task, flags_of_cells, marks_of_cells, rank_cells, same_tasks
from metarun.reporting.tables.render import Best
from metarun.reporting.tables.run_labels import distinguishing_keys, with_settings
from metarun.results.metrics import metric_of
from metarun.results.records import Record
from metarun.results.settings import DRAWN
from metarun.results.statistics import mean_and_ci95

Values = tuple[Any, ...]
Place = tuple[Values, Values]  # the values of a cell's row and of its column

# Runs may share a cell only if they differ in nothing but their seed; checked first for these keys.
SAME_KEYS = (
    *("algo", "data", "test_data", "backbone", "norm", "order", "transductive", "way", "shot"),
    *("test_way", "test_shot", "test_query", *DRAWN, "test_tasks", "interval", "steps", "precision"),
)
NAMED = 8  # values that an error message lists
SEEDS = "With several seeds: the mean; sd: the standard deviation over the seeds, which ± does not include."


def pivot_table(
    records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return head, rows and notes of a pivot table, whose rows and columns are the values of these keys."""
    cells = pivot(records, rows, columns)
    row_values, column_values = _axes(cells)
    runs_of_cells = list(cells.values())
    ranks, sentence = rank_cells(runs_of_cells)
    marks, meanings = marks_of_cells(runs_of_cells)
    texts = dict(zip(cells, map(_text, runs_of_cells, marks, ranks), strict=True))
    head = [*rows, *(_name(columns, column) or "accuracy %" for column in column_values)]
    body = [
        [
            *("–" if value is None else printable(str(value)) for value in row),
            *(texts.get((row, column), "–") for column in column_values),
        ]
        for row in row_values
    ]
    notes = [SEEDS] if any(len(runs) > 1 for runs in runs_of_cells) else []
    return head, body, notes + meanings + ([sentence] if sentence else [])


def pivot_figures(records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return a pivot table as data: per row its keys and, by column name, its cell; None for a cell without runs.

    A cell has `accuracy` or `mse`, `ci95` over tasks, `sd` over seeds, `seeds` (their number), `flags` and `standing`
    ("best", "tie" or ""). Without column keys, the row itself has these keys.
    """
    cells = pivot(records, rows, columns)
    row_values, column_values = _axes(cells)
    runs_of_cells = list(cells.values())
    ranks, _ = rank_cells(runs_of_cells)
    filled = {
        place: _figures(runs) | {"flags": flags, "standing": rank}
        for (place, runs), flags, rank in zip(cells.items(), flags_of_cells(runs_of_cells), ranks, strict=True)
    }
    if not columns:
        return [dict(zip(rows, row, strict=True)) | cell for (row, _), cell in filled.items()]
    return [
        dict(zip(rows, row, strict=True))
        | {_name(columns, column): filled.get((row, column)) for column in column_values}
        for row in row_values
    ]


def flat(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Flatten `pivot_figures` for CSV: one column per part of a cell, such as ``way=5 accuracy``, ``way=5 ci95``."""
    cells = [(name, value) for line in lines for name, value in line.items() if isinstance(value, dict)]
    cell_names, parts = {name for name, _ in cells}, dict.fromkeys(part for _, cell in cells for part in cell)
    rows = []
    for line in lines:
        row: dict[str, Any] = {}
        for name, value in line.items():
            if name in cell_names:
                row |= {f"{name} {part}": (value or {}).get(part) for part in parts}
            else:
                row[name] = value
        rows.append({name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()})
    return rows


def _axes(cells: Iterable[Place]) -> tuple[list[Values], list[Values]]:
    """Return the values of the rows and of the columns, in order."""
    rows, columns = (sorted({place[axis] for place in cells}, key=_order) for axis in (0, 1))
    return rows, columns


def _name(columns: Sequence[str], values: Values) -> str:
    """Name a column, ``way=5, shot=1``; "" without column keys."""
    return printable(", ".join(f"{key}={value}" for key, value in zip(columns, values, strict=True)))


def pivot(records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]) -> dict[Place, list[Record]]:
    """Group runs by the values of the keys in `rows` and of those in `columns`, in order, row by row.

    Raises:
        UserError: runs that differ in more than their seed would share a cell.
    """
    cells: dict[Place, list[Record]] = {}
    for record in records:
        row, column = (tuple(record.get(key) for key in keys) for keys in (rows, columns))
        cells.setdefault((row, column), []).append(record)
    if missing := dict.fromkeys(key for runs in cells.values() for key in _differing_keys(runs)):
        raise _would_share_a_cell(list(missing), records, rows, columns)
    return {place: cells[place] for place in sorted(cells, key=lambda place: tuple(map(_order, place)))}


@dataclass(frozen=True)
class CellFigure:
    """The result of a cell with one run per seed.

    Args:
        mean: accuracy or squared error.
        ci95: half-width of its 95 % interval over tasks; None if the seeds were tested on different tasks.
        deviation: standard deviation over the seeds; None for one seed.
    """

    mean: float
    ci95: float | None
    deviation: float | None


def cell_figure(records: Sequence[Record], read: bool = True) -> CellFigure:
    """Return the result of a cell, with its interval over tasks and its standard deviation over seeds.

    Args:
        records: one run per seed.
        read: whether to read the result on each task, which the interval of several seeds needs.
    """
    metric = metric_of(records[0])
    if len(records) == 1:
        return CellFigure(records[0][metric.key], records[0].get(metric.ci95), None)
    by_seed = [record[metric.key] for record in records]
    interval = _over_tasks(records) if read else None
    return CellFigure(statistics.fmean(by_seed), interval, float(np.std(by_seed, ddof=1)))


def _over_tasks(records: Sequence[Record]) -> float | None:
    if same_tasks(records) is None:
        return None
    try:
        return mean_and_ci95(by_task(records))[1]
    except UserError:  # tasks.parquet is missing or unreadable
        return None


def _order(values: Values) -> tuple[tuple[bool, Any], ...]:
    """Sort key: numbers by size, then strings."""
    return tuple((False, value) if isinstance(value, int | float) else (True, str(value)) for value in values)


def _figures(records: list[Record]) -> dict[str, Any]:
    found = cell_figure(records)
    return {metric_of(records[0]).key: found.mean, "ci95": found.ci95, "sd": found.deviation, "seeds": len(records)}


def figure_over_seeds(records: Sequence[Record], read: bool = True) -> str:
    """Format the result of runs that differ only in their seed: "92.60 ± 0.68 (sd 0.71, 2 seeds)"."""
    found, metric = cell_figure(records, read), metric_of(records[0])
    text = metric.prefix + metric.fixed(found.mean)
    if found.ci95 is not None:
        text += f" ± {metric.fixed(found.ci95)}"
    if found.deviation is not None:
        text += f" (sd {metric.fixed(found.deviation)}, {len(records)} seeds)"
    return text


def _text(records: list[Record], marks: str, rank: Rank) -> str:
    text = figure_over_seeds(records) + marks + (" ≈" if rank == "tie" else "")
    return Best(text) if rank == "best" else text


def _differing_keys(records: list[Record]) -> list[str]:
    """Return few keys by which the runs of a cell differ in more than their seed; none if they do not."""
    same = all(len({str(record.get(key)) for record in records}) == 1 for key in SAME_KEYS)
    if same and len({record["seedless_id"] for record in records if "seedless_id" in record}) <= 1:
        return [] if len({record["seed"] for record in records}) == len(records) else ["id"]
    _, keys = distinguishing_keys(records, averaged=["seed"])
    return keys or [key for key in SAME_KEYS if len({str(record.get(key)) for record in records}) > 1] or ["id"]


def _would_share_a_cell(
    keys: list[str], records: Sequence[Record], rows: Sequence[str], columns: Sequence[str]
) -> UserError:
    copies = [run for run, count in Counter(record["id"] for record in records).items() if count > 1]
    if keys == ["id"] and copies:
        raise UserError(f"run {copies[0]} is in more than one of the folders", "name folders that hold it once.")
    labelled = with_settings(records) if any("." in key for key in keys) else records
    described = [f"{key} ({_some(sorted({str(record.get(key)) for record in labelled}))})" for key in keys]
    sizes = [key for key in keys if key.endswith(("way", "shot"))]
    flags = {"--rows": [*rows, *(key for key in keys if key not in sizes)], "--columns": [*columns, *sizes]}
    command = " ".join(f"{flag} {','.join(names)}" for flag, names in flags.items() if names)
    return UserError(
        f"runs that differ in {' and '.join(described)} would share a cell",
        f"select fewer runs with --where, or use `metarun compare {command}`.",
    )


def _some(values: Sequence[str]) -> str:
    first = ", ".join(values[:NAMED])
    return first if len(values) <= NAMED else f"{first} and {len(values) - NAMED:,} more"
