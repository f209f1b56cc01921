"""Reading a table of the user's: CSV, Parquet or Excel, by pandas."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from metarun.data.texts.utf8 import decoded
from metarun.errors import UserError, did_you_mean
from metarun.system.paths import is_file

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".xlsx")
_PACKED = (".gz", ".zip", ".bz2", ".xz")
# What pandas takes for missing by default, which must be listed where one column differs.
_MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)


def read_table(
    path: Path, written: str, header: bool = True, key: str = "root", names: Collection[str] = ()
) -> pd.DataFrame:
    """Read a table; its columns are called by texts: without a header, by their numbers from "0" on.

    Args:
        path: of the file, whose suffix says what it is; CSV may be packed (.csv.gz).
        written: the path as the user wrote it, for messages.
        header: whether the first line of a CSV holds the names of the columns.
        key: the config key that names the file.
        names: columns of a CSV or Excel file with names, such as of classes: they stay as written, and only "" is
            missing. In others NA is missing too, and numbers are numbers.
    """
    if not is_file(path):
        raise UserError(f"data.{key}={written} is not a file", f"set `data.{key}` to a table ({', '.join(SUFFIXES)}).")
    suffix = next((suffix for suffix in reversed(path.suffixes) if suffix.lower() not in _PACKED), "").lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"data.{key}={written} is not a table that metarun reads", f"convert it to one of {', '.join(SUFFIXES)}."
        )
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(path)
        elif suffix == ".xlsx":
            table = _read_excel(path, header, names)
        else:
            table = _read_csv(path, "\t" if suffix == ".tsv" else ",", header, names)
    except UserError:
        raise
    except UnicodeDecodeError as error:
        if suffix == path.suffix.lower():  # else it is packed
            decoded(path.read_bytes(), str(path))  # raises, with the line
        raise UserError(f"{path} is not UTF-8", "convert it, such as by `iconv -f latin1 -t utf-8`.") from error
    except ImportError as error:
        raise UserError(f"{path} needs openpyxl", "pip install 'metarun[excel]'.") from error
    except Exception as error:  # pandas and its readers raise a dozen kinds on foreign bytes
        raise UserError(f"{path} cannot be read as a table ({' '.join(str(error).split())}).") from error
    table.columns = [str(column).strip() for column in table.columns]
    check_different(list(table.columns), path)
    if table.empty:
        raise UserError(f"{path} has no rows", "fill it.")
    return table


def _read_csv(path: Path, separator: str, header: bool, names: Collection[str]) -> pd.DataFrame:
    how = {"sep": separator, "skipinitialspace": True, "low_memory": False}
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, **how).iloc[0]  # type: ignore[call-overload]
    how |= _types(dict(enumerate(first if header else first.index)), names)
    if not header:
        return pd.read_csv(path, header=None, **how)  # type: ignore[call-overload,no-any-return]
    table: pd.DataFrame = pd.read_csv(path, **how)  # type: ignore[call-overload]
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(
            f"the rows of {path} have more values than its first line has column names", "name every column."
        )
    if first.notna().all() and len(first) == len(table.columns):
        table.columns = first  # pandas calls the second of two alike "a.1"
    return table


def _read_excel(path: Path, header: bool, names: Collection[str]) -> pd.DataFrame:
    line = 0 if header else None
    with pd.ExcelFile(path) as book:
        if header:  # before pandas calls the second of two alike "a.1"
            first = pd.read_excel(book, header=None, nrows=1, dtype=object)
            check_different([str(name).strip() for name in first.to_numpy().ravel() if pd.notna(name)], path)
        columns = pd.read_excel(book, header=line, nrows=1).columns
        table: pd.DataFrame = pd.read_excel(book, header=line, **_types({column: column for column in columns}, names))
    return table


def _types(columns: Mapping[Hashable, object], names: Collection[str]) -> dict[str, Any]:
    """Return arguments of pandas' readers that keep the columns of `names` as written; `columns` has what each says."""
    of_names = {key: str(column).strip() in names for key, column in columns.items()}
    return {
        "dtype": {key: str for key, named in of_names.items() if named},
        "na_values": {key: ("",) if named else _MISSING for key, named in of_names.items()},
        "keep_default_na": False,
    }


def check_different(columns: Sequence[str], path: Path) -> None:
    """Raise a UserError that names a column which is there twice."""
    index = pd.Index(columns)
    if twice := index[index.duplicated()].tolist():
        raise UserError(f"{path} has two columns called '{twice[0]}'", "rename one.")


def check_columns(table: pd.DataFrame, path: Path, key: str, wanted: Sequence[str]) -> None:
    """Raise a UserError that names a column which the table does not have; `key` is the config key that names it."""
    for column in wanted:
        if column not in table.columns:
            there = ", ".join(table.columns[:20])
            raise UserError(
                f"{path} has no column '{column}' (data.{key})",
                f"its columns are {there}.{did_you_mean(column, table.columns)}",
            )


def check_filled(table: pd.DataFrame, path: Path, columns: Sequence[str], header: bool) -> None:
    """Raise a UserError that names the first line without a value in one of some columns."""
    for column in columns:
        if (missing := table[column].isna()).any():
            line = line_of(int(table.index[int(missing.to_numpy().argmax())]), header)
            raise UserError(f"line {line} of {path} has no value in column '{column}'", "fill it.")


def line_of(row: int, header: bool) -> int:
    """Return the line of a file that a row of its table is in, counted from 1."""
    return row + (2 if header else 1)
