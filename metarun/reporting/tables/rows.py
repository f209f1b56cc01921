"""The table of runs, one row each: its columns, their contents, and the notes below it."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metarun.errors import UserError
from metarun.reporting.tables.flags import FLAGS, flags, rank_cells
from metarun.reporting.tables.published import figure_of, published, published_text
from metarun.reporting.tables.render import (
    LONG,
    Best,
    as_csv,
    as_text,
    console_of_any_width,
    print_skipped,
    print_table,
    table_width,
)
from metarun.reporting.tables.run_labels import distinguishing_labels
from metarun.results.metrics import METRICS, figure, metric_of
from metarun.results.records import Record, excludes_diverged, read_records
from metarun.results.settings import short_setting
from metarun.system.durations import short_duration
from metarun.system.paths import exists
from metarun.system.ranges import ends


def finished_rows(paths: Sequence[Path]) -> list[Record]:
    """Return the records of finished runs below some folders, sorted for tables; print which runs are skipped.

    Raises:
        UserError: a folder does not exist, or there is no finished run.
    """
    missing = [str(path) for path in paths if not exists(path)]
    if missing:
        raise UserError(
            f"{missing[0]} does not exist", "name a folder with runs, such as the results/ of `metarun train`."
        )
    records, skipped = read_records(paths)
    failed = [record for record in records if record["status"] != "done"]
    skipped += [f"{record['path']} {record['status']}: {record.get('reason', '')}" for record in failed]
    for reason in skipped:
        print_skipped(reason)
    done = [record for record in records if record["status"] == "done"]
    if not done:
        raise UserError(f"no finished run in {', '.join(map(str, paths))}", "start one with `metarun train`.")
    return sorted_rows(done)


def sorted_rows(records: list[Record]) -> list[Record]:
    """Sort the records of finished runs for tables: by setting, then the best first."""
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[Any, ...]:
    """Sort key: the setting; results over all tasks first; then the best first."""
    metric = metric_of(record)
    sizes = *ends(record["test_way"]), *ends(record["test_shot"]), record["test_query"]
    setting = record["test_data"], *sizes, record.get("test_within") or ""
    return *setting, excludes_diverged(record), -metric.score(record[metric.key])


def _setting(record: Record) -> str:
    tested, trained = short_setting(record), short_setting(record, "")
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
    "trained": lambda record: short_duration(record["train_seconds"]),
    "id": lambda record: record["id"],
}


# Columns that are replaced by a note below the table if all rows have the same value.
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


# Keys that have columns; other keys that distinguish runs are in the column "settings".
KEYS_WITH_COLUMNS = (
    *("algo", "data", "test_data", "way", "shot", "test_way", "test_shot", "transductive", "order"),
    *("within", "test_within", "test_query", "norm", "steps", "test_tasks", "precision"),
)


ALWAYS = ("method", "data", "task", "settings", "accuracy %", "transductive", "id")  # shown even in a narrow terminal


DEFAULTS = {"precision": "float32", "interval": "closed"}  # omitted from the notes


def print_rows(records: list[Record], form: str) -> None:
    """Print one row per record; as CSV and JSON with all its keys, its flags and the published result."""
    if form == "json":
        flagged = zip(records, flags(records), strict=True)
        rows = [{**record, "flags": own, "published": published(record)} for record, own in flagged]
        print(json.dumps(rows, indent=2))
    elif form == "csv":
        print(rows_as_csv(records), end="")
    else:
        width = console_of_any_width().width if form == "table" else math.inf
        print_table(*all_columns(records, width), form)


def rows_as_csv(records: list[Record]) -> str:
    """Return records with all their keys as CSV, with their flags and the published result."""
    rows = [
        {**record, "flags": " ".join(own), "published": found and figure_of(found)}
        for record, own in zip(records, flags(records), strict=True)
        for found in [published(record)]
    ]
    return as_csv(rows)


def markdown(records: list[Record]) -> str:
    """Return the table of all records as Markdown."""
    return as_text(*all_columns(records, math.inf), "md")


def all_columns(records: list[Record], width: float) -> tuple[list[str], list[list[str]], list[str]]:
    """Return head, rows and notes.

    The notes state the details that all rows share, and name the columns that do not fit in `width`.
    """
    before, after = list(COLUMNS.items())[:3], list(COLUMNS.items())[3:]
    columns = {**dict(before), **_settings_column(records), **dict(after), **DETAILS}
    values = {name: [write(record) for record in records] for name, write in columns.items()}
    values["accuracy %"], marks = _marked(values["accuracy %"], records)
    if set(values["published %"]) == {"–"}:
        del values["published %"]
    same = {name: column[0] for name, column in values.items() if name in DETAILS and len(set(column)) == 1}
    shown = [name for name in values if name not in same]
    hidden = _without_room({name: values[name] for name in shown}, width)
    shown = [name for name in shown if name not in hidden]
    notes = [f"{describe_interval(records)} {_what_floors_are(records)}"]
    shared = [f"{name} {value}" for name, value in same.items() if DEFAULTS.get(name) != value]
    if shared:
        notes.append(f"In all rows: {', '.join(shared)}.")
    if hidden:
        notes.append(f"Hidden columns: {', '.join(hidden)}; widen the terminal, or use --format csv.")
    if "published %" in values:
        notes.append(f"Published results, on other tasks and with other code: {'; '.join(_sources(records))}.")
    return shown, [list(row) for row in zip(*(values[name] for name in shown), strict=True)], notes + marks


def _without_room(values: dict[str, list[str]], width: float) -> list[str]:
    """Return which columns to hide so that the others fit the width; columns in `ALWAYS` are kept."""
    can_go = [name for name in values if name not in ALWAYS]
    hidden: list[str] = []
    while can_go and table_width({name: each for name, each in values.items() if name not in hidden}) > width:
        hidden.insert(0, can_go.pop())
    return hidden


def _what_floors_are(records: list[Record]) -> str:
    used = set(map(metric_of, records))
    return f"The floor is {', in regression '.join(metric.floor_is for metric in METRICS if metric in used)}."


def _settings_column(records: list[Record]) -> dict[str, Callable[[Record], str]]:
    """Return the column with settings that distinguish rows if no other column does; not for very many rows."""
    if len(records) > LONG:  # each record means reading a file
        return {}
    labels = distinguishing_labels(records, KEYS_WITH_COLUMNS, averaged=["seed"])
    texts = dict(zip(map(id, records), labels, strict=True))
    return {"settings": lambda record: texts[id(record)] or "–"} if any(texts.values()) else {}


def _marked(results: list[str], records: list[Record]) -> tuple[list[str], list[str]]:
    """Add marks to the results (flags, the best, its ties); return them and notes on what the marks mean."""
    flagged = flags(records)
    ranks, sentence = rank_cells([[record] for record in records])
    marks = [
        " ".join([*(FLAGS[flag][0] for flag in own), *(["≈"] if rank == "tie" else [])])
        for own, rank in zip(flagged, ranks, strict=True)
    ]
    texts = [f"{text} {mark}".rstrip() for text, mark in zip(results, marks, strict=True)]
    notes = [meaning for flag, (_, meaning) in FLAGS.items() if any(flag in own for own in flagged)]
    marked = [Best(text) if rank == "best" else text for text, rank in zip(texts, ranks, strict=True)]
    return marked, notes + ([sentence] if sentence else [])


def _sources(records: list[Record]) -> list[str]:
    return sorted({f"{record['algo']}: {found['source']}" for record in records if (found := published(record))})


def describe_interval(records: list[Record]) -> str:
    """Return a sentence that explains ±."""
    intervals = {record.get("interval", "closed") for record in records}
    sentence = "± is the {}95 % interval over meta-test tasks (Student t)"
    if len(intervals) > 1:
        return f"{sentence.format('')}; closed: tasks drawn with replacement, open: tasks that share no example."
    if intervals == {"open"}:
        return f"{sentence.format('open ')}, which share no example."
    return f"{sentence.format('closed ')}, drawn with replacement."
