"""Reading labelled texts: a CSV or JSON Lines file, a Parquet or Excel table, or folders of text files."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metarun.data.examples import SPLITS
from metarun.data.files.archive import open_files
from metarun.data.pictures.picture_files import count_by_suffix
from metarun.data.texts.utf8 import decoded
from metarun.errors import UserError, counted, did_you_mean
from metarun.system.paths import is_file, is_folder

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")
_LARGEST = 1 << 28  # bytes of one text file in a folder or zip


@dataclass(frozen=True)
class Columns:
    """The columns of a table of texts, or the keys of JSON Lines.

    Args:
        text: holds the text.
        label: holds its class.
        split: holds train, val or test; None: there is none.
        groups: each holds a group, such as who wrote a text.
        label_needed: whether there must be a column `label`.
    """

    text: str
    label: str
    split: str | None = None
    groups: tuple[str, ...] = field(default=(), repr=False)  # the keys of existing caches contain the repr
    label_needed: bool = field(default=True, repr=False)

    def named(self, there: Iterable[str]) -> list[tuple[str, str]]:
        """Return the columns to read, each with the key that names it."""
        keys = [("text", self.text), ("label", self.label), *(("groups", each) for each in self.groups)]
        if self.split is not None:
            keys.insert(2, ("split_column", self.split))
        known = {*there}
        return [(key, name) for key, name in keys if self.label_needed or key != "label" or name in known]


@dataclass(frozen=True)
class LabelledText:
    """One text as it was read.

    Args:
        text: without white space around it.
        label: its class; "" where there is none.
        split: what the column or the folder of splits says; None: nothing.
        place: where it was read, for messages: "line 7 of texts.csv".
        line: of a table, from 1; None: it is a file of its own.
        groups: what the columns of groups say.
    """

    text: str
    label: str
    split: str | None
    place: str
    line: int | None = None
    groups: tuple[str, ...] = ()


def read_texts(root: Path, written: str, columns: Columns) -> tuple[list[LabelledText], tuple[str, ...]]:
    """Read all texts, also those without a label or a character; return them and clauses on skipped files.

    A folder or a zip holds `<class>/*.txt` or `<train|val|test>/<class>/*.txt`, one text per file; a class may be a
    folder of a folder (`banking/balance`).

    Args:
        root: a .csv, .tsv or .jsonl file (or packed by gzip), a .parquet or .xlsx file, a folder, or a zip.
        written: the path as the user wrote it, for messages.
        columns: of a file.

    Raises:
        UserError: there is no such file or folder, or it cannot be read; the message names the line.
    """
    if is_folder(root) or (is_file(root) and root.suffix.lower() == ".zip"):
        if columns.groups:
            asked = f"data.groups=[{', '.join(columns.groups)}]"
            raise UserError(f"{asked} names columns but {root} holds files of texts", "set it to null, or use a table.")
        return _read_folder(root)
    if not is_file(root):
        raise UserError(
            f"data.root={written} does not exist", f"set `data.root` to a folder or a file ({', '.join(SUFFIXES)})."
        )
    suffix = root.with_suffix("").suffix.lower() if root.suffix.lower() == ".gz" else root.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"data.root={written} is not a file of texts that metarun reads", f"convert it to {', '.join(SUFFIXES)}."
        )
    if suffix in (".parquet", ".xlsx"):
        rows = _rows_of_table(root, written, columns)
    elif suffix == ".jsonl":
        rows = _rows_of_json_lines(root)
    else:
        rows = _rows_of_csv(root, "\t" if suffix == ".tsv" else ",", columns)
    return [_labelled(row, line, root, columns) for line, row in rows], ()


def _content(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}).") from error
    return decoded(content, str(path))


def _check_columns(path: Path, there: list[str], columns: Columns) -> None:
    import pandas as pd

    from metarun.data.tables.table_file import check_columns, check_different

    check_different([name for name in there if name], path)  # those without a name are not read
    for key, wanted in columns.named(there):
        check_columns(pd.DataFrame(columns=there), path, key, [wanted])


def _rows_of_csv(path: Path, separator: str, columns: Columns) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.reader(io.StringIO(_content(path), newline=""), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_columns(path, names, columns)
        line = reader.line_num + 1  # a quoted text may have several lines
        for values in reader:
            if values and len(values) != len(names):
                raise UserError(
                    f"line {line} of {path} has {counted(len(values), 'value')} but the first line names "
                    f"{counted(len(names), 'column')}",
                    "put texts with a comma, a tab or a line break into quotes.",
                )
            if values:
                yield line, dict(zip(names, values, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"line {reader.line_num} of {path} cannot be read as CSV ({error}).") from error


def _rows_of_json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, written in enumerate(_content(path).split("\n"), 1):
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise UserError(f"line {line} of {path} cannot be read as JSON ({error}).") from error
        if not isinstance(row, dict):
            raise UserError(f"line {line} of {path} is not a JSON object", 'write {"text": …, "label": …} per line.')
        yield line, row


def _rows_of_table(path: Path, written: str, columns: Columns) -> Iterator[tuple[int, Mapping[str, object]]]:
    from metarun.data.tables.table_file import line_of, read_table

    table = read_table(path, written)
    _check_columns(path, list(table.columns), columns)
    wanted = list(dict.fromkeys(column for _, column in columns.named(table.columns)))
    table = table[wanted].astype(object).where(table[wanted].notna(), None)
    for number, values in enumerate(table.itertuples(index=False, name=None)):
        yield line_of(number, header=True), dict(zip(wanted, values, strict=True))


def _labelled(row: Mapping[str, object], line: int, root: Path, columns: Columns) -> LabelledText:
    place = f"line {line} of {root}"
    for key, column in columns.named(row):
        if column not in row:  # of JSON Lines, whose lines may differ
            there = ", ".join(map(str, row)) or "none"
            raise UserError(
                f"{place} has no key '{column}' (data.{key})", f"its keys are {there}.{did_you_mean(column, row)}"
            )
    text = row[columns.text]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{place} has {type(text).__name__} {text!r} instead of a text (data.text)", "write a text.")
    split = None if columns.split is None else _word(row[columns.split])
    groups = tuple(_word(row[column]) for column in columns.groups)
    if not all(groups):
        raise UserError(f"{place} has no value in '{columns.groups[groups.index('')]}' (data.groups)", "fill it.")
    found = LabelledText((text or "").strip(), _word(row.get(columns.label)), split, place, line, groups)
    _check_characters(found)
    return found


def _check_characters(found: LabelledText) -> None:
    """Raise a UserError for half a surrogate pair, which JSON can escape but no file can hold."""
    try:
        f"{found.text}{found.label}{found.split}".encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise UserError(f"{found.place} has {half!a}, which is half a character", "correct it.") from None


def _word(value: object) -> str:
    return "" if value is None else str(value).strip()


def _read_folder(root: Path) -> tuple[list[LabelledText], tuple[str, ...]]:
    with open_files(root, _LARGEST) as (names, read):
        shown = sorted(
            name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        )
        files = [name for name in shown if name.lower().endswith(".txt")]
        if not files:
            only = f", only {count_by_suffix(shown)}" if shown else ""
            raise UserError(f"{root} has no text files (.txt){only}", "correct `data.root`.")
        parts = {name: name.split("/") for name in files}
        while all(len(folders) > 2 for folders in parts.values()) and len({p[0] for p in parts.values()}) == 1:
            parts = {name: folders[1:] for name, folders in parts.items()}  # a folder that holds everything
        has_splits = {folders[0] for folders in parts.values()} >= set(SPLITS)
        texts = []
        for name, (*folders, _) in parts.items():
            split = folders.pop(0) if has_splits and folders else None
            if not folders:
                raise UserError(f"{name} in {root} is not in a class folder", "move it into one.")
            place = f"{root / name}"
            texts.append(LabelledText(decoded(read(name), place).strip(), "/".join(folders), split, place))
    others = [name for name in shown if name not in parts]
    return texts, (f"skipped, as they are not .txt: {count_by_suffix(others)}",) if others else ()
