"""`metarun compare`: all rows side by side, or as a pivot."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from metarun.command_line.pivot import TRANSDUCTIVE, pivot_table
from metarun.command_line.tables import FORMATS, as_text, console_of_any_width, leave_out, print_table
from metarun.command_line.word_parser import WordParser
from metarun.display import figure, percent
from metarun.errors import UserError, did_you_mean
from metarun.results import Record, read_records

EXAMPLES = """examples:
  metarun compare                                      every run under results/
  metarun compare results/runs/*omniglot*              some of them
  metarun compare --rows algo --columns way,shot       a pivot: methods down, task sizes across
  metarun compare --against RUN                        is a difference real? paired tests on the same tasks
  metarun compare --format latex > table.tex           also csv, md, json; csv and json hold every key of result.json"""


def main(words: Sequence[str]) -> int:
    """Print the table and return the exit code.

    Raises:
        UserError: a path or a key is not there, or there is no finished run.
    """
    parser = WordParser.with_examples("metarun compare", "Put the rows of finished runs side by side.", EXAMPLES)
    parser.add_paths()
    parser.add_argument("--rows", help="keys of result.json that make the rows of a pivot, such as algo")
    parser.add_argument("--columns", help="keys that make its columns, such as way,shot")
    parser.add_argument("--against", metavar="RUN", help="a run's id: test the others against it, task by task")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    options = parser.parse_args(words)
    records = finished_rows(options.paths)
    if options.against:
        from metarun.command_line.against import print_against  # scipy.stats, a second that no other table needs

        print_against(records, options.against, options.format)
    elif options.rows or options.columns:
        _print_pivot(records, _keys(options.rows, records), _keys(options.columns, records), options.format)
    else:
        print_rows(records, options.format)
    return 0


def finished_rows(paths: Sequence[Path]) -> list[Record]:
    """Return the records of finished runs below some folders, in the order of tables; say which are left out and why.

    Raises:
        UserError: there is no such folder, or no finished run.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UserError(f"there is no {missing[0]} here; `metarun train` writes to results/, or name another folder.")
    records, left_out = read_records(paths)
    failed = [record for record in records if record["status"] != "done"]
    left_out += [f"{record['path']} {record['status']}: {record.get('reason', '')}" for record in failed]
    for sentence in left_out:
        leave_out(sentence)
    done = [record for record in records if record["status"] == "done"]
    if not done:
        raise UserError(f"there is no finished run in {', '.join(map(str, paths))}; make one with `metarun train`.")
    return sorted_rows(done)


def sorted_rows(records: list[Record]) -> list[Record]:
    """Return the records of finished runs as tables show them: equal settings together, the best first."""
    return sorted(records, key=_order)


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
    "precision": lambda record: record.get("precision", "float32"),
}
USUAL = {"precision": "float32"}  # not worth telling where all rows have it


def print_rows(records: list[Record], form: str) -> None:
    """Print one row for each record."""
    if form == "json":
        print(json.dumps(records, indent=2))
    elif form == "csv":
        print(pd.DataFrame(records).to_csv(index=False), end="")
    else:
        _print_all_columns(records, form)


def _print_all_columns(records: list[Record], form: str) -> None:
    width = console_of_any_width().width if form == "table" else math.inf
    print_table(*all_columns(records, width), form)


def markdown(records: list[Record]) -> str:
    """Return the table of all records as Markdown."""
    return as_text(*all_columns(records, math.inf), "md")


def all_columns(records: list[Record], width: float) -> tuple[list[str], list[list[str]], list[str]]:
    """Return head, rows and notes.

    Details that all rows share are told once, in the notes; so are the names of those that `width` has no room for.
    """
    values = {name: [write(record) for record in records] for name, write in (COLUMNS | DETAILS).items()}
    same = {name: told[0] for name, told in values.items() if name in DETAILS and len(set(told)) == 1}
    shown = [name for name in values if name not in same]
    hidden: list[str] = []
    while len(shown) > len(COLUMNS) and sum(max(map(len, [name, *values[name]])) + 1 for name in shown) > width:
        hidden.insert(0, shown.pop())
    notes = [NOTE]
    told_once = [f"{name} {told}" for name, told in same.items() if USUAL.get(name) != told]
    if told_once:
        notes.append(f"In all rows: {', '.join(told_once)}.")
    if hidden:
        notes.append(f"No room here for {', '.join(hidden)}: widen the terminal, or --format csv.")
    return shown, [list(row) for row in zip(*(values[name] for name in shown), strict=True)], notes


def _print_pivot(records: list[Record], rows: list[str], columns: list[str], form: str) -> None:
    head, body = pivot_table(records, rows, columns)
    if form == "json":
        print(json.dumps([dict(zip(head, line, strict=True)) for line in body], indent=2))
    elif form == "csv":
        print(pd.DataFrame(body, columns=head).to_csv(index=False), end="")
    else:
        print_table(head, body, PIVOT_NOTES, form)


def _keys(given: str | None, records: list[Record]) -> list[str]:
    keys = [key.strip() for key in (given or "").split(",") if key.strip()]
    known = sorted({key for record in records for key, value in record.items() if not isinstance(value, list)})
    for key in keys:
        if key not in known:
            raise UserError(f"'{key}' is no key of a result; there are {', '.join(known)}." + did_you_mean(key, known))
    return keys


NOTE = "± is the 95 % interval over meta-test tasks (Student t); the floor is the nearest centroid of raw inputs."
PIVOT_NOTES = [NOTE, TRANSDUCTIVE]
