"""From a table with a column of entities to the rows of each: inputs and targets as numbers, in the order of time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metarun.data.display import Display
from metarun.data.encoding import Encoding
from metarun.data.examples import SPLITS, ClassDataset, Examples, Skipped, Split
from metarun.data.tables.entities import INPUTS, TARGETS, row_dtype
from metarun.data.tables.table_columns import as_json
from metarun.data.tables.table_features import Missing, TableFeatures, check_values, rows_by_name, without_gaps
from metarun.data.tables.table_file import check_columns, line_of
from metarun.errors import UserError, counted

_OF_A_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are for.

    Args:
        entity: names the entity of a row.
        targets: what is to be predicted.
        inputs: what it is predicted from; None: all other columns.
        drop: columns to ignore.
        order: a time, by which the rows of an entity are sorted; None: they stay as they are.
        split: says train, val or test; None: no column does.
    """

    entity: str
    targets: Sequence[str]
    inputs: Sequence[str] | None
    drop: Sequence[str]
    order: str | None
    split: str | None


@dataclass(frozen=True)
class EntityRows:
    """The rows of each entity, ready to be split.

    Args:
        rows: by the entity's name, sorted by time where a column says it.
        inputs: the columns of inputs.
        targets: the columns of targets, all numbers.
        skipped: what was skipped because it was asked for, each a clause.
        notes: what was skipped or replaced without being asked for, each a clause.
        read: how the table was read: the other arguments of `metarun.data.encoders.RowEncoder`.
        order: the column of times; None: there is none.
    """

    rows: Mapping[str, pd.DataFrame]
    inputs: Sequence[str]
    targets: Sequence[str]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    read: Mapping[str, Any]
    order: str | None = None


def entity_rows(
    table: pd.DataFrame, path: Path, columns: Columns, missing: Missing, header: bool, least: int | None
) -> EntityRows:
    """Check a table's columns and values, and group its rows.

    Args:
        table: as `read_table` returns it.
        path: of its file, for messages.
        columns: what they are for.
        missing: see `check_values`; of inputs.
        header: whether the file begins with the names of columns.
        least: skip entities with fewer rows; None: skip none.

    Raises:
        UserError: a column is missing, a target or time is no number, or a value is infinite.
    """
    _check(table, path, columns)
    notes: list[str] = []
    numbers = table.assign(**{target: _number(table[target], path, target, header) for target in columns.targets})
    if columns.order is not None:
        numbers[columns.order] = _times(table, path, columns.order, header)
    check_values(numbers, path, columns.targets, "mean", header)
    inputs = _inputs(numbers, path, columns)
    wanted = {columns.entity: "an entity", **dict.fromkeys(columns.targets, "a target")}
    if columns.order is not None:
        wanted[columns.order] = "a time"
    for column, what in wanted.items():
        numbers, skipped_rows = without_gaps(numbers, column, what, header)
        notes += skipped_rows
    if numbers.empty:
        raise UserError(f"{path} has no row with an entity and targets", "fill them.")
    notes += check_values(numbers, path, inputs, missing, header)
    rows = rows_by_name(numbers, columns.entity)
    if columns.order is not None:
        rows = {name: own.sort_values(columns.order, kind="stable") for name, own in rows.items()}
    few = [name for name, own in rows.items() if least is not None and len(own) < least]
    skipped = (f"{counted(len(few), 'entity')} of fewer than {least} rows (data.min_rows)",) if few else ()
    kept = {name: own for name, own in rows.items() if name not in set(few)}
    read = {"label": columns.entity, "header": header, "missing": missing == "mean"}
    return EntityRows(kept, inputs, columns.targets, skipped, tuple(notes), read, columns.order)


def entity_dataset(
    name: str,
    found: EntityRows,
    lists: Mapping[Split, Sequence[str]],
    skipped: Skipped,
    standardise: bool,
    standardise_targets: bool,
    repeats: bool = True,
) -> ClassDataset:
    """Return the rows of each entity with the fields of `row_dtype`; scales are those of the meta-train rows.

    Args:
        name: of the data set.
        found: the rows.
        lists: the entities of each split.
        skipped: by the split.
        standardise: inputs, see `TableFeatures.of`.
        standardise_targets: likewise.
        repeats: count rows that are in two splits, which are no oversight where rows of two entities can be equal.
    """
    train = pd.concat([found.rows[entity] for entity in lists["train"]])
    inputs = TableFeatures.of(train, found.inputs, standardise)
    targets = TableFeatures.of(train, found.targets, standardise_targets)

    def rows_of(entity: str) -> NDArray[Any]:
        x, y = inputs.vectors(found.rows[entity]), targets.vectors(found.rows[entity])
        rows = np.empty(len(x), row_dtype(x.shape[1], y.shape[1]))
        rows[INPUTS], rows[TARGETS] = x, y
        return rows

    splits = {split: Examples.from_classes({entity: rows_of(entity) for entity in lists[split]}) for split in SPLITS}
    notes = (*skipped.warnings, *found.notes, *(_repeated(found, lists) if repeats else ()))
    encoding = Encoding("rows", {"inputs": as_json(inputs.columns), "targets": as_json(targets.columns), **found.read})
    display = partial(Display, inputs=inputs.columns, targets=targets.columns, axis=found.order or "")
    told = Skipped((*skipped.unlisted, *found.skipped), notes)
    return ClassDataset(name, splits, told, encoding=lambda: encoding, display=display)


def _check(table: pd.DataFrame, path: Path, columns: Columns) -> None:
    named: dict[str, Sequence[str]] = {
        "entity": [columns.entity],
        "targets": columns.targets,
        "columns": columns.inputs or (),
        "drop": columns.drop,
        "order": [columns.order] if columns.order is not None else [],
        "split_column": [columns.split] if columns.split is not None else [],
    }
    for key, wanted in named.items():
        check_columns(table, path, key, wanted)
    for key in ("entity", "order", "split_column"):
        if shared := set(named[key]) & set(columns.targets):
            raise UserError(f"column '{shared.pop()}' is both data.{key} and among data.targets", "name another.")


def _inputs(table: pd.DataFrame, path: Path, columns: Columns) -> list[str]:
    others = {columns.entity, columns.split, *columns.targets, *columns.drop}
    asked = columns.inputs or table.columns
    if leaked := set(columns.inputs or ()) & set(columns.targets):
        raise UserError(f"column '{leaked.pop()}' is among data.columns and data.targets", "keep it in one of them.")
    inputs = [column for column in asked if column not in others]
    if not inputs:
        raise UserError(f"{path} has no column to predict the targets from", "name some by `data.columns`.")
    return inputs


def _number(values: "pd.Series[Any]", path: Path, column: str, header: bool) -> "pd.Series[float]":
    return _converted(values, path, column, "a target is a number", header, pd.to_numeric)


def _times(table: pd.DataFrame, path: Path, column: str, header: bool) -> "pd.Series[float]":
    """Return times as numbers; of dates, the days since 1970."""
    values = table[column]
    if pd.api.types.is_numeric_dtype(values):
        check_values(table, path, [column], "mean", header)
        return values.astype(float)

    def dates(texts: Any, errors: Any) -> "pd.Series[float]":
        stamps = pd.to_datetime(texts, errors=errors, format="ISO8601", utc=True).dt.tz_localize(None)
        days: pd.Series[float] = (stamps - pd.Timestamp(0)) / _OF_A_DAY
        return days

    convert = pd.to_numeric if pd.to_numeric(values, errors="coerce").notna().any() else dates
    return _converted(values, path, column, "a time is a number or a date like 2024-01-31", header, convert)


def _converted(
    values: "pd.Series[Any]", path: Path, column: str, wanted: str, header: bool, convert: Callable[..., Any]
) -> "pd.Series[float]":
    found: pd.Series[float] = convert(values, errors="coerce")
    wrong = (found.isna() & values.notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"line {line_of(row, header)} of {path} has {str(values.iloc[row])!r} in column '{column}' but {wanted}",
            "correct it.",
        )
    return found.astype(float)


def _repeated(found: EntityRows, lists: Mapping[Split, Sequence[str]]) -> list[str]:
    """Return a clause if a row of an entity is, but for its name, in another split too."""
    columns = [*dict.fromkeys((*found.inputs, *found.targets))]
    rows = pd.concat([found.rows[entity][columns].assign(split=split) for split in SPLITS for entity in lists[split]])
    different = rows.drop_duplicates()
    count = int(different.duplicated(columns, keep="first").sum())
    return [f"{counted(count, 'row')} in more than one split, by inputs and targets"] if count else []
