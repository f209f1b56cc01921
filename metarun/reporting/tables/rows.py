"""The rows of runs side by side: which columns a table has, and what stands in them."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metarun.errors import UserError
from metarun.reporting.tables.flags import FLAGS, flags, standings
from metarun.reporting.tables.published import figure_of, published, published_text
from metarun.reporting.tables.render import (
    LONG,
    Best,
    as_csv,
    as_text,
    console_of_any_width,
    leave_out,
    print_table,
    table_width,
)
from metarun.reporting.tables.run_labels import apart
from metarun.results.metrics import METRICS, figure, metric_of
from metarun.results.records import Record, excludes_diverged, read_records
from metarun.system.paths import exists


def finished_rows(paths: Sequence[Path]) -> list[Record]:
    """Return the records of finished runs below some folders, in the order of tables; say which are left out and why.

    Raises:
        UserError: there is no such folder, or no finished run.
    """
    missing = [str(path) for path in paths if not exists(path)]
    if missing:
        raise UserError(f"there is no {missing[0]} here", "`metarun train` writes to results/, or name another folder.")
    records, left_out = read_records(paths)
    failed = [record for record in records if record["status"] != "done"]
    left_out += [f"{record['path']} {record['status']}: {record.get('reason', '')}" for record in failed]
    for sentence in left_out:
        leave_out(sentence)
    done = [record for record in records if record["status"] == "done"]
    if not done:
        raise UserError(f"there is no finished run in {', '.join(map(str, paths))}", "make one with `metarun train`.")
    return sorted_rows(done)


def sorted_rows(records: list[Record]) -> list[Record]:
    """Return the records of finished runs as tables show them: equal settings together, the best first."""
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[Any, ...]:
    """Equal settings stand together, the best first, and last those whose figure is not over all tasks."""
    metric = metric_of(record)
    setting = record["test_data"], record["test_way"], record["test_shot"], record["test_query"]
    return *setting, excludes_diverged(record), -metric.score(record[metric.key])


def _setting(record: Record) -> str:
    tested = f"{record['test_way']}w{record['test_shot']}s"
    trained = f"{record['way']}w{record['shot']}s"
    return tested if tested == trained else f"{trained} → {tested}"


def _data(record: Record) -> str:
    return record["data"] if record["data"] == record["test_data"] else f"{record['data']} → {record['test_data']}"


def _floor(record: Record) -> str:
    metric = metric_of(record)
    return metric.fixed(record.get(metric.floor), metric.brief_digits)


COLUMNS: dict[str, Callable[[Record], str]] = {
    "method": lambda record: record["algo"],
    "data": _data,
    "task": _setting,
    "accuracy %": figure,
    "published %": published_text,
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
    "interval": lambda record: record.get("interval", "closed"),
    "seed": lambda record: str(record["seed"]),
    "precision": lambda record: record.get("precision", "float32"),
}


# Keys that columns tell; what else tells runs apart stands in the column "settings".
TOLD = (
    *("algo", "data", "test_data", "way", "shot", "test_way", "test_shot", "transductive", "order"),
    *("test_query", "norm", "steps", "test_tasks", "precision"),
)


ALWAYS = ("method", "data", "task", "settings", "accuracy %", "transductive", "id")  # however narrow a terminal is


USUAL = {"precision": "float32", "interval": "closed"}  # not worth telling where all rows have it


def print_rows(records: list[Record], form: str) -> None:
    """Print one row for each record; to programs with all its keys, its flags, and what is published."""
    if form == "json":
        told = zip(records, flags(records), strict=True)
        print(json.dumps([{**record, "flags": own, "published": published(record)} for record, own in told], indent=2))
    elif form == "csv":
        print(rows_as_csv(records), end="")
    else:
        _print_all_columns(records, form)


def rows_as_csv(records: list[Record]) -> str:
    """Return records with all their keys as CSV, their flags in one cell, the published figure in another."""
    told = [
        {**record, "flags": " ".join(own), "published": found and figure_of(found)}
        for record, own in zip(records, flags(records), strict=True)
        for found in [published(record)]
    ]
    return as_csv(told)


def _print_all_columns(records: list[Record], form: str) -> None:
    width = console_of_any_width().width if form == "table" else math.inf
    print_table(*all_columns(records, width), form)


def markdown(records: list[Record]) -> str:
    """Return the table of all records as Markdown."""
    return as_text(*all_columns(records, math.inf), "md")


def all_columns(records: list[Record], width: float) -> tuple[list[str], list[list[str]], list[str]]:
    """Return head, rows and notes.

    Details that all rows share are told once, in the notes; so are the names of columns that `width` has no room for.
    """
    before, after = list(COLUMNS.items())[:3], list(COLUMNS.items())[3:]
    columns = {**dict(before), **_settings_column(records), **dict(after), **DETAILS}
    values = {name: [write(record) for record in records] for name, write in columns.items()}
    values["accuracy %"], marks = _marked(values["accuracy %"], records)
    if set(values["published %"]) == {"–"}:
        del values["published %"]
    same = {name: told[0] for name, told in values.items() if name in DETAILS and len(set(told)) == 1}
    shown = [name for name in values if name not in same]
    hidden = _without_room({name: values[name] for name in shown}, width)
    shown = [name for name in shown if name not in hidden]
    notes = [f"{what_figures_are(records)} {_what_floors_are(records)}"]
    told_once = [f"{name} {told}" for name, told in same.items() if USUAL.get(name) != told]
    if told_once:
        notes.append(f"In all rows: {', '.join(told_once)}.")
    if hidden:
        notes.append(f"No room here for {', '.join(hidden)}: widen the terminal, or --format csv.")
    if "published %" in values:
        notes.append(f"Published, on other tasks by other code: {'; '.join(_sources(records))}.")
    return shown, [list(row) for row in zip(*(values[name] for name in shown), strict=True)], notes + marks


def _without_room(values: dict[str, list[str]], width: float) -> list[str]:
    """Return which columns to leave away so that the others fit the width, as far as any may be."""
    can_go = [name for name in values if name not in ALWAYS]
    hidden: list[str] = []
    while can_go and table_width({name: each for name, each in values.items() if name not in hidden}) > width:
        hidden.insert(0, can_go.pop())
    return hidden


def _what_floors_are(records: list[Record]) -> str:
    used = set(map(metric_of, records))
    return f"The floor is {', in regression '.join(metric.floor_is for metric in METRICS if metric in used)}."


def _settings_column(records: list[Record]) -> dict[str, Callable[[Record], str]]:
    """Return a column that tells apart rows that no other does; none for very many, each with a file to read."""
    if len(records) > LONG:
        return {}
    texts = dict(zip(map(id, records), apart(records, TOLD, averaged=["seed"]), strict=True))
    return {"settings": lambda record: texts[id(record)] or "–"} if any(texts.values()) else {}


def _marked(figures: list[str], records: list[Record]) -> tuple[list[str], list[str]]:
    """Return the figures with marks: what must not be compared, the best, its ties; and notes on what they mean."""
    flagged = flags(records)
    found, sentence = standings([[record] for record in records])
    marks = [
        " ".join([*(FLAGS[flag][0] for flag in own), *(["≈"] if standing == "tie" else [])])
        for own, standing in zip(flagged, found, strict=True)
    ]
    texts = [f"{text} {mark}".rstrip() for text, mark in zip(figures, marks, strict=True)]
    notes = [told for flag, (_, told) in FLAGS.items() if any(flag in own for own in flagged)]
    marked = [Best(text) if standing == "best" else text for text, standing in zip(texts, found, strict=True)]
    return marked, notes + ([sentence] if sentence else [])


def _sources(records: list[Record]) -> list[str]:
    return sorted({f"{record['algo']}: {found['source']}" for record in records if (found := published(record))})


def what_figures_are(records: list[Record]) -> str:
    """Say what ± is over."""
    intervals = {record.get("interval", "closed") for record in records}
    told = "± is the {}95 % interval over meta-test tasks (Student t)"
    if len(intervals) > 1:
        return f"{told.format('')}; closed: drawn with replacement, open: without a shared example."
    if intervals == {"open"}:
        return f"{told.format('open ')}, none of which share an example."
    return f"{told.format('closed ')}, drawn with replacement."
