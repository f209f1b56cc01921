"""From the columns of a table to vectors of floats, by what the meta-train rows alone tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metarun.data.display import Display
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Skipped, Split
from metarun.data.tables.table_columns import CategoricalColumn, Column, NumericColumn, as_json
from metarun.data.tables.table_file import line_of
from metarun.errors import UserError, counted

Missing = Literal["mean", "error"]
_MOST_CATEGORIES = 1_000  # of a column; one with more is no category


@dataclass(frozen=True)
class TableFeatures:
    """How rows become vectors.

    Args:
        columns: in the order of the table.
    """

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, train: pd.DataFrame, columns: Sequence[str], standardise: bool) -> Self:
        """Learn means, deviations and categories from the meta-train rows.

        Raises:
            UserError: a column has more categories than could ever be told apart.
        """
        return cls(tuple(_column(train[column], column, standardise) for column in columns))

    @property
    def names(self) -> list[str]:
        """The columns that are needed."""
        return [column.name for column in self.columns]

    def checked(self, rows: pd.DataFrame, missing: bool) -> tuple[pd.DataFrame, list[str]]:
        """Return new rows with numbers for what is written as text, and why each is invalid; "": it is valid.

        Args:
            rows: with the columns `names`, of any types.
            missing: whether a value may be missing.
        """
        found, reasons = {}, pd.Series([""] * len(rows))
        for column in self.columns:
            values = rows[column.name].reset_index(drop=True)
            absent = values.isna()
            if isinstance(column, NumericColumn):
                numbers = pd.to_numeric(values, errors="coerce").astype(float)
                for row in np.flatnonzero(numbers.isna() & ~absent).tolist():
                    reasons[row] = f"has {str(values[row])!r} in column '{column.name}' but the column takes numbers"
                reasons[np.isinf(numbers)] = f"has an infinite number in column '{column.name}'"
                values = numbers
            if not missing:
                reasons[absent] = f"has no value in column '{column.name}'"
            found[column.name] = values
        return pd.DataFrame(found), reasons.tolist()

    def numbers(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the numbers (rows, columns) of vectors; all columns must be numeric."""
        scales = [(each.deviation, each.mean) for each in self.columns if isinstance(each, NumericColumn)]
        deviations, means = np.array(scales).T
        found: NDArray[np.float64] = np.asarray(vectors, np.float64) * deviations + means
        return found

    def vectors(self, rows: pd.DataFrame) -> NDArray[np.float32]:
        """Return (rows, features)."""
        return np.concatenate([column.vectors(rows[column.name]) for column in self.columns], axis=1)


def _column(values: "pd.Series[float]", name: str, standardise: bool) -> Column:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(np.float64)
        known = numbers[~np.isnan(numbers)]
        if not standardise or len(known) == 0:
            return NumericColumn(name, 0.0, 1.0)
        if known.min() == known.max():  # whose computed deviation can be 1e-17
            return NumericColumn(name, float(known[0]), 1.0)
        return NumericColumn(name, float(known.mean()), float(known.std()) or 1.0)  # squares below 1e-308 are 0
    categories = sorted(values.dropna().astype(str).unique())
    if len(categories) > _MOST_CATEGORIES:
        raise UserError(
            f"column '{name}' has {len(categories):,} different texts in meta-train, too many for categories",
            f"drop it, such as by `data.drop=[{name}]`, or use data=text.",
        )
    return CategoricalColumn(name, tuple(categories))


def check_values(table: pd.DataFrame, path: Path, columns: Sequence[str], missing: Missing, header: bool) -> list[str]:
    """Check the values of some columns; return a clause for each kind of missing value, which are replaced.

    Raises:
        UserError: a number is infinite, or missing where `missing` is "error"; the message names column and line.
    """
    gaps = 0
    for column in columns:
        values = table[column]
        if pd.api.types.is_float_dtype(values) and (infinite := np.isinf(values.to_numpy(np.float64))).any():
            line = line_of(int(table.index[int(infinite.argmax())]), header)
            raise UserError(f"line {line} of {path} has an infinite number in column '{column}'", "correct it.")
        absent = values.isna().to_numpy()
        if absent.any() and missing == "error":
            line = line_of(int(table.index[int(absent.argmax())]), header)
            raise UserError(
                f"line {line} of {path} has no value in column '{column}'", "fill it, or set `data.missing=mean`."
            )
        gaps += int(absent.sum())
    replaced = "replaced by the mean of meta-train, or left without a category"
    return [f"{counted(gaps, 'missing value')} {'was' if gaps == 1 else 'were'} {replaced}"] if gaps else []


def without_gaps(table: pd.DataFrame, column: str, what: str, header: bool) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows with a value in a column, and a clause on the others; `what` is what they lack, "a class"."""
    absent = table[column].isna()
    if not absent.any():
        return table, []
    first = line_of(int(table.index[int(absent.to_numpy().argmax())]), header)
    count = counted(int(absent.sum()), "row")
    return table[~absent], [f"{count} without {what} in column '{column}' skipped, the first in line {first}"]


def rows_by_name(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Return the rows of each class or entity by its name, in the order of names; no value of `column` may be missing.

    Whole numbers are written without a point, even where other rows without a value made floats of them.
    """
    values = table[column]
    if pd.api.types.is_float_dtype(values) and (values == values.round()).all() and np.isfinite(values).all():
        values = values.astype(np.int64)
    names = values.astype(str).str.strip()
    return {str(name): rows for name, rows in table.groupby(names, sort=True)}


def class_name(label: Any) -> str | None:
    """Return the name of one class as `rows_by_name` writes it; None if it is missing."""
    if pd.isna(label):
        return None
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()


def words_by_name(
    place: Path, rows: Mapping[str, pd.DataFrame], column: str, noun: str, header: bool
) -> dict[str, str]:
    """Return the word in `column` of each class or entity.

    Raises:
        UserError: the rows of one have different words; `noun` says what it is.
    """
    found = {}
    for name, own in rows.items():
        words = own[column].fillna("").astype(str).str.strip()
        other = (words != words.iloc[0]).to_numpy()
        if other.any():
            lines = [line_of(int(own.index[at]), header) for at in (0, int(other.argmax()))]
            raise UserError(
                f"{noun} '{name}' of {place} has '{words.iloc[0]}' in column '{column}' in line {lines[0]} but "
                f"'{words[other].iloc[0]}' in line {lines[1]}",
                f"give each {noun} to one split.",
            )
        found[name] = str(words.iloc[0])
    return found


def class_dataset(
    name: str,
    rows: Mapping[str, pd.DataFrame],
    lists: Mapping[Split, Sequence[str]],
    columns: Sequence[str],
    standardise: bool,
    skipped: Skipped,
    read: Mapping[str, Any],
    groups: Sequence[str] = (),
) -> ClassDataset:
    """Return rows as examples; what the vectors are made by is learned from the meta-train rows.

    Args:
        name: of the data set.
        rows: of each class.
        lists: the classes of each split.
        columns: that describe a row.
        standardise: see `TableFeatures.of`.
        skipped: see `ClassDataset`.
        read: how the table was read: the other arguments of `metarun.data.encoders.RowEncoder`.
        groups: columns that group the rows.
    """
    features = TableFeatures.of(pd.concat([rows[c] for c in lists["train"]]), columns, standardise)
    vectors = "standardised rows" if standardise else "rows"
    splits = {split: Examples.from_classes({c: features.vectors(rows[c]) for c in lists[split]}) for split in SPLITS}
    encoding = Encoding("rows", {"inputs": as_json(features.columns), "targets": None, **read})
    of_split = {split: pd.concat([rows[c] for c in lists[split]]) for split in SPLITS}
    example_groups = {
        column: {split: ExampleGroups.of(of_split[split][column].astype(str).str.strip()) for split in SPLITS}
        for column in groups
    }
    display = partial(Display, inputs=features.columns, vectors=vectors)
    return ClassDataset(
        name, splits, skipped, example_groups=example_groups, encoding=lambda: encoding, display=display
    )
