"""The table of runs, one row each: its columns, their contents, and the notes below it."""

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from metarun.errors import UserError, printable
from metarun.reporting.tables.differing_settings import differing_settings
from metarun.reporting.tables.flags import FLAGS, flags, rank_cells
from metarun.reporting.tables.pivot import SEEDS, figure_over_seeds
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
from metarun.reporting.tables.selection import sort_records
from metarun.results.metrics import METRICS, MSE, RIDGE_FLOOR, RIDGE_IS, best_floor, figure, floor_text, metric_of
from metarun.results.records import Record, excludes_diverged, read_records
from metarun.results.set_rows import set_count, with_set_rows
from metarun.results.settings import DRAWN, WORDS, drawn_how, short_setting
from metarun.results.unknown_figures import auroc_text
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
    return sorted_rows(with_set_rows(done))


def sorted_rows(records: list[Record]) -> list[Record]:
    """Sort the records of finished runs for tables: by setting, then the best first."""
    return sorted(records, key=_order)


def _order(record: Record) -> tuple[Any, ...]:
    """Sort key: the setting; results over all tasks first; then the best first."""
    metric = metric_of(record)
    sizes = *ends(record["test_way"]), *ends(record["test_shot"]), record["test_query"]
    setting = record["test_data"], *sizes, *drawn_how(record)
    return *setting, excludes_diverged(record), -metric.score(record[metric.key])


def _setting(record: Record) -> str:
    tested, trained = short_setting(record), short_setting(record, "")
    return tested if tested == trained else f"{trained} → {tested}"


def _data(record: Record) -> str:
    data = record["data"] if record["data"] == record["test_data"] else f"{record['data']} → {record['test_data']}"
    sets = set_count(record)
    return data if sets == 1 else f"{data} (mean of {sets})"


def _floor(record: Record) -> str:
    metric = metric_of(record)
    floor = best_floor(record)
    return metric.fixed(floor[0] if floor else None, metric.brief_digits)


Group = Sequence[Record]  # runs that differ only in their seed

EXTERNAL = "external data"
EXTERNAL_IS = "External data: what a pre-trained network saw besides meta-train; such rows are ranked separately."


def by_configuration(records: Sequence[Record]) -> list[Group]:
    """Group runs that differ only in their seed, and sort the groups like `sorted_rows`."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    copies: Counter[object] = Counter()
    for record in records:  # rows of older versions have no `seedless_id`; a copy of a run is not another seed
        copies[record["id"]] += 1
        tested = record.get("stream_hash"), metric_of(record).key
        key = record.get("seedless_id", record["id"]), *tested, copies[record["id"]]
        groups.setdefault(key, []).append(record)
    found: list[Group] = [sorted(group, key=lambda record: record["seed"]) for group in groups.values()]
    return sorted(found, key=lambda group: _order({**group[0], **_mean_figure(group)}))


def _value(key: str, group: Group) -> str:
    """Write the values of a key in the runs of a group."""
    values = [record.get(key) for record in group]
    texts = ["–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return printable(", ".join(dict.fromkeys(texts)))


def _mean_figure(group: Group) -> Record:
    key = metric_of(group[0]).key
    return {key: fmean(record[key] for record in group)}


def _result(group: Group, read: bool = True) -> str:
    return figure(group[0]) if len(group) == 1 else figure_over_seeds(group, read)


def _ids(group: Group) -> str:
    return f"{group[0]['id']} +{len(group) - 1}" if len(group) > 1 else str(group[0]["id"])


def _seeds(group: Group) -> str:
    """Write the seeds of a group: "0", "0, 2" or "0–4"."""
    seeds = [record["seed"] for record in group]
    in_a_row = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}–{seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))


COLUMNS: dict[str, Callable[[Group], str]] = {
    "method": lambda group: group[0]["algo"],
    "data": lambda group: _data(group[0]),
    "task": lambda group: _setting(group[0]),
    "accuracy %": _result,
    "published %": lambda group: published_text(group[0]),
    "floor": lambda group: _floor(group[0]),
    EXTERNAL: lambda group: group[0].get("external_data", "–"),
    "AUROC unknown": partial(auroc_text, kind="unknown"),
    "AUROC out of scope": partial(auroc_text, kind="out_of_scope"),
    "transductive": lambda group: "yes" if group[0]["transductive"] else "no",
    "order": lambda group: str(group[0]["order"] or "–"),
    "trained": lambda group: short_duration(fmean(record["train_seconds"] for record in group)),
    "id": _ids,
}


AUROCS = ("AUROC unknown", "AUROC out of scope")
AUROC_IS = "AUROC %: how often a query of the task scores higher than an unknown one, 50 by guessing"

# Columns that are replaced by a note below the table if all rows have the same value.
DETAILS: dict[str, Callable[[Group], str]] = {
    "queries": lambda group: str(group[0]["test_query"]),
    "norm": lambda group: group[0]["norm"] or "–",
    "steps": lambda group: str(group[0]["steps"] or "–"),
    "ms/task": lambda group: f"{min(record['adapt_ms'] for record in group):.0f}",
    "tasks": lambda group: f"{group[0]['test_tasks']:,}",
    "interval": lambda group: group[0].get("interval", "closed"),
    "seed": _seeds,
    "precision": lambda group: group[0].get("precision", "float32"),
}


# Keys that have columns; other keys that distinguish runs are in the column "settings".
KEYS_WITH_COLUMNS = (
    *("algo", "data", "test_data", "way", "shot", "test_way", "test_shot", "transductive", "order"),
    *(*WORDS, *DRAWN, "test_query", "norm", "steps", "test_tasks", "precision"),
)


ALWAYS = ("method", "task", "settings", "accuracy %", "id")  # shown even in a narrow terminal


UNEQUAL = ("≠", "≠ the commands of the rows of its task set different training budgets or networks.")
WITHOUT_HALVES = "; their ± is not shown in tables of more than {} runs: select fewer."
DEFAULTS = {"precision": "float32", "interval": "closed"}  # omitted from the notes


def print_rows(
    records: list[Record],
    form: str,
    each_seed: bool = False,
    show: Sequence[str] = (),
    sort: str | None = None,
    only: Sequence[str] = (),
) -> None:
    """Print one row per configuration, or per run; as CSV and JSON one per run, with all its keys and its flags.

    Args:
        records: of finished runs.
        form: one of `FORMATS`.
        each_seed: whether runs that differ only in their seed have a row each.
        show: keys of the records that have columns too.
        sort: a key to sort by; "-key" in reverse; None: by setting, then the best first.
        only: the columns of a table, in this order, by their names or the first words of them; empty: all.

    Raises:
        UserError: a column in `only` does not exist.
    """
    if sort is not None and form in ("json", "csv"):
        records = sort_records(records, sort)
    if form == "json":
        flagged = zip(records, flags(records), strict=True)
        flagged_rows = [{**record, "flags": own, "published": published(record)} for record, own in flagged]
        print(json.dumps(flagged_rows, indent=2))
    elif form == "csv":
        print(rows_as_csv(records), end="")
    else:
        width = console_of_any_width().width if form == "table" and not only else math.inf
        groups = [[record] for record in records] if each_seed else by_configuration(records)
        head, rows, notes = all_columns(groups if sort is None else _sorted(groups, sort), width, show)
        if only:
            places = [_place(name, head) for name in only]
            head, rows = [head[i] for i in places], [[row[i] for i in places] for row in rows]
        print_table(head, rows, notes, form)


def _place(name: str, head: Sequence[str]) -> int:
    """Return which column has a name, or a first word, such as "accuracy" of "accuracy %"."""
    for i, column in enumerate(head):
        if name in (column, column.partition(" ")[0]):
            return i
    raise UserError(f"--only {name}: the table has no such column; it has: {', '.join(head)}", "use --show to add one.")


def _sorted(groups: Sequence[Group], key: str) -> list[Group]:
    """Sort groups by a key of their first run, metrics by their mean."""
    by_place = [{**group[0], **_mean_figure(group), "place": place} for place, group in enumerate(groups)]
    return [groups[record["place"]] for record in sort_records(by_place, key)]


def rows_as_csv(records: list[Record]) -> str:
    """Return records with all their keys as CSV, with their flags and the published result."""
    rows = [
        {**record, "flags": " ".join(own), "published": found and figure_of(found)}
        for record, own in zip(records, flags(records), strict=True)
        for found in [published(record)]
    ]
    return as_csv(rows)


def markdown(records: list[Record]) -> str:
    """Return the table of all configurations as Markdown."""
    return as_text(*all_columns(by_configuration(records), math.inf), "md")


def all_columns(
    groups: Sequence[Group], width: float, show: Sequence[str] = ()
) -> tuple[list[str], list[list[str]], list[str]]:
    """Return head, rows and notes of a table with one row per group of runs that differ only in their seed.

    Columns for the keys in `show` come after the method, data and task, and are never hidden. The notes state what all
    rows share, and name the columns that do not fit in `width`.
    """
    records = [record for group in groups for record in group]
    before, after = list(COLUMNS.items())[:3], list(COLUMNS.items())[3:]
    settings, shared_settings, unequal = _settings(groups)
    requested = {key: partial(_value, key) for key in show}
    columns: dict[str, Callable[[Group], str]] = {**dict(before), **requested, **settings, **dict(after), **DETAILS}
    long = len(records) > LONG  # the interval of several seeds means reading a file of each
    columns["accuracy %"] = partial(_result, read=not long)
    values = {name: [write(group) for group in groups] for name, write in columns.items()}
    values["accuracy %"], marks = _marked(values["accuracy %"], groups, unequal)
    for optional in ("published %", EXTERNAL, *AUROCS):
        if set(values[optional]) == {"–"}:
            del values[optional]
    always = {*ALWAYS, EXTERNAL, *show}
    same = {name for name in DETAILS if len(set(values[name])) == 1}
    constant = [name for name in values if len(groups) > 1 and len(set(values[name])) == 1 and name not in always]
    same |= set(_without_room(values, [name for name in constant if name not in same], same, width))
    can_go = [name for name in values if name not in (*always, *same)]
    hidden = _without_room(values, can_go, same, width)
    shown = [name for name in values if name not in (*same, *hidden)]
    notes = [f"{describe_interval(records)} {_what_floors_are(records)}"]
    if any(len(group) > 1 for group in groups):
        notes.append(f"{SEEDS[:-1]}{WITHOUT_HALVES.format(LONG) if long else '.'}")
    shared = [f"{name} {values[name][0]}" for name in values if name in same]
    shared = [text for text in shared if text not in {f"{name} {value}" for name, value in DEFAULTS.items()}]
    if shared or shared_settings:
        notes.append(f"In all rows: {', '.join([*shared, *shared_settings])}.")
    if hidden:
        notes.append(f"Hidden columns: {', '.join(hidden)}; widen the terminal, or use --format csv.")
    if any(name in values for name in AUROCS):
        notes.append(f"{AUROC_IS}; in brackets: of the floor.")
    if EXTERNAL in values:
        notes.append(EXTERNAL_IS)
    if "published %" in values:
        sources = "; ".join(_sources([group[0] for group in groups]))
        notes.append(f"Published results, on other tasks and with other code: {sources}.")
    return shown, [list(row) for row in zip(*(values[name] for name in shown), strict=True)], notes + marks


def _without_room(
    values: dict[str, list[str]], can_go: Sequence[str], gone: Collection[str], width: float
) -> list[str]:
    """Return which of the columns in `can_go` must go, the last first, so that all others but those gone fit."""
    left, went = list(can_go), list[str]()

    def needed() -> int:
        return table_width({name: each for name, each in values.items() if name not in (*gone, *went)})

    while left and needed() > width:
        went.insert(0, left.pop())
    return went


def _what_floors_are(records: list[Record]) -> str:
    """Return a sentence on what the column says: of regression the better of two floors, where there are two."""
    texts = {metric: sorted({floor_text(each) for each in records if metric_of(each) is metric}) for metric in METRICS}
    if any(record.get(RIDGE_FLOOR) is not None for record in records):
        texts[MSE] = [f"the better of {texts[MSE][0]} and {RIDGE_IS}"]
    sentence = f"The floor is {', in regression '.join(' or '.join(each) for each in texts.values() if each)}."
    return sentence.replace(" or the nearest centroid of ", " or of ")


def _settings(groups: Sequence[Group]) -> tuple[dict[str, Callable[[Group], str]], list[str], list[bool]]:
    """Return the column with the settings in which rows differ, if any; those that all share; and unequal costs."""
    if len(groups) > LONG:  # each row means reading a file
        return {}, [], [False] * len(groups)
    records = [group[0] for group in groups]
    differing, shared, unequal = differing_settings(records, KEYS_WITH_COLUMNS)
    others = distinguishing_labels(records, KEYS_WITH_COLUMNS, averaged=["seed"])  # such as the trained run of a test
    both = [text or other for text, other in zip(differing, others, strict=True)]
    texts = {group[0]["id"]: text for group, text in zip(groups, both, strict=True)}
    return {"settings": lambda group: texts[group[0]["id"]] or "–"} if any(both) else {}, shared, unequal


def _marked(results: list[str], groups: Sequence[Group], unequal: Sequence[bool]) -> tuple[list[str], list[str]]:
    """Add marks to the results (flags, the best, its ties); return them and notes on what the marks mean."""
    own = iter(flags([record for group in groups for record in group]))
    flagged = [{flag for _ in group for flag in next(own)} for group in groups]
    ranks, sentence = rank_cells(groups)
    marks = [
        [mark for flag, (mark, _) in FLAGS.items() if flag in found]
        + [UNEQUAL[0]] * at_other_cost
        + ["≈"] * (rank == "tie")
        for found, rank, at_other_cost in zip(flagged, ranks, unequal, strict=True)
    ]
    texts = [" ".join([text, *own]) for text, own in zip(results, marks, strict=True)]
    notes = [meaning for flag, (_, meaning) in FLAGS.items() if any(flag in found for found in flagged)]
    notes += [UNEQUAL[1]] if any(unequal) else []
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
