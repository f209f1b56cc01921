"""`metarun compare`: all rows side by side, or as a pivot."""

import json
import math
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tabulate import tabulate

from metarun.command_line.word_parser import WordParser
from metarun.display import figure, percent
from metarun.errors import UserError, did_you_mean
from metarun.results import Record, read_records

FORMATS = ("table", "csv", "md", "latex", "json")
EXAMPLES = """examples:
  metarun compare                                      every run under results/
  metarun compare results/runs/*omniglot*              some of them
  metarun compare --rows algo --columns way,shot       a pivot: methods down, task sizes across
  metarun compare --format latex > table.tex           also csv, md, json; csv and json hold every key of result.json"""


def main(words: Sequence[str]) -> int:
    """Print the table and return the exit code.

    Raises:
        UserError: a path or a key is not there, or there is no finished run.
    """
    parser = WordParser(
        "metarun compare",
        description="Put the rows of finished runs side by side.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, help="folders to look below (default: results)")
    parser.add_argument("--rows", help="keys of result.json that make the rows of a pivot, such as algo")
    parser.add_argument("--columns", help="keys that make its columns, such as way,shot")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    options = parser.parse_args(words)
    records = _finished(options.paths or [Path("results")])
    if options.rows or options.columns:
        _print_pivot(records, _keys(options.rows, records), _keys(options.columns, records), options.format)
    else:
        _print_rows(records, options.format)
    return 0


def _finished(paths: Sequence[Path]) -> list[Record]:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UserError(f"there is no {missing[0]} here; `metarun train` writes to results/, or name another folder.")
    records, left_out = read_records(paths)
    failed = [record for record in records if record["status"] != "done"]
    left_out += [f"{record['path']} {record['status']}: {record.get('reason', '')}" for record in failed]
    for sentence in left_out:
        Console(stderr=True).print(
            f"left out: {sentence}", style="yellow", highlight=False, markup=False, soft_wrap=True
        )
    done = [record for record in records if record["status"] == "done"]
    if not done:
        raise UserError(f"there is no finished run in {', '.join(map(str, paths))}; make one with `metarun train`.")
    return sorted(done, key=_order)


def _order(record: Record) -> tuple[Any, ...]:
    """Equal settings stand together, the best first."""
    score = -record["mse"] if "mse" in record else record["accuracy"]
    return record["test_data"], record["test_way"], record["test_shot"], record["test_query"], -score


def _setting(record: Record) -> str:
    tested = f"{record['test_way']}w{record['test_shot']}s"
    trained = f"{record['way']}w{record['shot']}s"
    return tested if tested == trained else f"{trained} → {tested}"


def _data(record: Record) -> str:
    return record["data"] if record["data"] == record["test_data"] else f"{record['data']} → {record['test_data']}"


def _floor(record: Record) -> str:
    return f"{record['floor_mse']:.3f}" if "mse" in record else percent(record["floor_accuracy"], 1)


COLUMNS: dict[str, Callable[[Record], str]] = {
    "method": lambda record: record["algo"],
    "data": _data,
    "task": _setting,
    "accuracy %": figure,
    "floor": _floor,
    "transductive": lambda record: "yes" if record["transductive"] else "no",
    "order": lambda record: str(record["order"] or "–"),
    "trained": lambda record: f"{record['train_seconds'] / 60:.1f} min",
    "id": lambda record: record["id"],
}
# Told once, below the table, where they are the same in all rows; else columns as well.
DETAILS: dict[str, Callable[[Record], str]] = {
    "queries": lambda record: str(record["test_query"]),
    "norm": lambda record: record["norm"] or "–",
    "steps": lambda record: str(record["steps"] or "–"),
    "ms/task": lambda record: f"{record['adapt_ms']:.0f}",
    "tasks": lambda record: f"{record['test_tasks']:,}",
    "seed": lambda record: str(record["seed"]),
}


def _print_rows(records: list[Record], form: str) -> None:
    if form == "json":
        print(json.dumps(records, indent=2))
    elif form == "csv":
        print(pd.DataFrame(records).to_csv(index=False), end="")
    else:
        _print_all_columns(records, form)


def _print_all_columns(records: list[Record], form: str) -> None:
    """Details that all rows share are told once, below; on a terminal, so are the names of those it has no room for."""
    values = {name: [write(record) for record in records] for name, write in (COLUMNS | DETAILS).items()}
    same = {name: told[0] for name, told in values.items() if name in DETAILS and len(set(told)) == 1}
    shown = [name for name in values if name not in same]
    width = _console().width if form == "table" else math.inf
    hidden: list[str] = []
    while len(shown) > len(COLUMNS) and sum(max(map(len, [name, *values[name]])) + 1 for name in shown) > width:
        hidden.insert(0, shown.pop())
    notes = [NOTE]
    if same:
        notes.append(f"In all rows: {', '.join(f'{name} {told}' for name, told in same.items())}.")
    if hidden:
        notes.append(f"No room here for {', '.join(hidden)}: widen the terminal, or --format csv.")
    _print_table(shown, [list(row) for row in zip(*(values[name] for name in shown), strict=True)], form, notes)


def _print_pivot(records: list[Record], rows: list[str], columns: list[str], form: str) -> None:
    """Cells are figures; runs that differ in their seed alone are averaged and counted."""
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Record]]] = {}
    for record in records:
        row, column = (tuple(record.get(key) for key in keys) for keys in (rows, columns))
        cells.setdefault(row, {}).setdefault(column, []).append(record)
    across = sorted({column for row in cells.values() for column in row}, key=lambda key: tuple(map(_sortable, key)))
    head = [
        *rows,
        *(", ".join(f"{key}={value}" for key, value in zip(columns, column, strict=True)) for column in across),
    ]
    head = [name or "accuracy %" for name in head]
    down = sorted(cells, key=lambda key: tuple(map(_sortable, key)))
    body = [[*map(str, row), *(_cell(cells[row].get(column, [])) for column in across)] for row in down]
    if form == "json":
        print(json.dumps([dict(zip(head, line, strict=True)) for line in body], indent=2))
    elif form == "csv":
        print(pd.DataFrame(body, columns=head).to_csv(index=False), end="")
    else:
        _print_table(head, body, form, [NOTE, "† transductive: queries see each other."])


def _sortable(value: Any) -> tuple[bool, Any]:
    """Numbers by size, before texts."""
    return (False, value) if isinstance(value, int | float) else (True, str(value))


# Runs may share a cell of a pivot when they differ in their seed alone; these would make their mean mean nothing.
ALIKE = (
    *("algo", "data", "test_data", "backbone", "norm", "order", "transductive", "way", "shot"),
    *("test_way", "test_shot", "test_query", "test_tasks", "steps"),
)


def _cell(records: list[Record]) -> str:
    if not records:
        return "–"
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
    mark = " †" if records[0]["transductive"] else ""
    if len(records) == 1:
        return figure(records[0]) + mark
    key = "mse" if "mse" in records[0] else "accuracy"
    mean = sum(record[key] for record in records) / len(records)
    return (f"mse {mean:.4f}" if key == "mse" else percent(mean)) + f" (mean of {len(records)} seeds){mark}"


def _keys(given: str | None, records: list[Record]) -> list[str]:
    keys = [key.strip() for key in (given or "").split(",") if key.strip()]
    known = sorted({key for record in records for key, value in record.items() if not isinstance(value, list)})
    for key in keys:
        if key not in known:
            raise UserError(f"'{key}' is no key of a result; there are {', '.join(known)}." + did_you_mean(key, known))
    return keys


def _console() -> Console:
    """The terminal; where there is none nothing is cut, rich would take it for 80 columns wide."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


NOTE = "± is the 95 % interval over meta-test tasks (Student t); the floor is the nearest centroid of raw inputs."


def _print_table(head: list[str], rows: list[list[str]], form: str, notes: Sequence[str]) -> None:
    if form == "md":
        print(tabulate(rows, head, tablefmt="pipe", disable_numparse=True) + f"\n\n{' '.join(notes)}")
    elif form == "latex":
        print(f"% {' '.join(notes)}\n" + tabulate(rows, head, tablefmt="latex_booktabs", disable_numparse=True))
    else:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for name in head:
            table.add_column(name.replace("transductive", "trans-\nductive").replace(", ", "\n"), no_wrap=True)
        for row in rows:
            table.add_row(*map(escape, row))
        console = _console()
        console.print(table)
        console.print("\n".join(notes), highlight=False, style="dim")
