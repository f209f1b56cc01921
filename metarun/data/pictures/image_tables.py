"""Read `train.csv`, `val.csv` and `test.csv`, tables of filename and label."""

import csv
import io
import ntpath
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

from metarun.data.examples import SPLITS, Split
from metarun.data.files.archive import ReadFile
from metarun.data.pictures.picture_files import SHOWN_SUFFIXES, PictureFiles
from metarun.errors import UserError
from metarun.system.paths import is_folder, resolve_path

TABLES: dict[Split, str] = {which: f"{which}.csv" for which in SPLITS}
_MAX_PARTS = 64  # of a path; every suffix of it is tried
Classes = dict[str, list[str]]  # class name -> names of its files


@dataclass(frozen=True)
class _Row:
    where: str  # for messages
    filename: str
    label: str


def read_tables(
    root: Path, folder: str, read: ReadFile, files: PictureFiles
) -> tuple[dict[Split, Classes], dict[Split, int]]:
    """Return the pictures of each class of each split, and the number of duplicate rows of each split.

    A row's file name is a path relative to the folder of the tables, or the last parts of the path of a picture below
    it. If several match, the one in a folder with the name of the label is taken. Backslashes are accepted, and accents
    in any Unicode form. An absolute path is resolved through links to a path in `root`; of a Windows path with a drive,
    which may be of another computer, the longest matching suffix counts.

    Args:
        root: the folder or zip, for messages.
        folder: of the tables in it, "" or "some/folder/".
        read: returns a file's content.
        files: of `root`.

    Raises:
        UserError: a table is damaged or empty, a row matches no picture or several, or a picture is in two classes or
            two splits.
    """
    rows = {which: list(_rows(root, f"{folder}{which}.csv", read)) for which in SPLITS}
    pictures = _Pictures(root, folder, files, [row for of_split in rows.values() for row in of_split])
    taken: dict[str, tuple[Split, _Row]] = {}
    splits: dict[Split, Classes] = {}
    repeated = dict.fromkeys(SPLITS, 0)
    for which in SPLITS:
        classes: Classes = defaultdict(list)
        for row in rows[which]:
            picture = pictures.find(row)
            before = taken.setdefault(picture, (which, row))
            if before[1] is row:
                classes[row.label].append(picture)
                continue
            _check_same(picture, before, (which, row))
            repeated[which] += 1
        if not classes:
            raise UserError(
                f"{folder}{which}.csv in {root} lists no pictures but every split needs some", "complete your copy."
            )
        splits[which] = {class_name: sorted(classes[class_name]) for class_name in sorted(classes)}
    return splits, repeated


def _check_same(picture: str, one: tuple[Split, _Row], other: tuple[Split, _Row]) -> None:
    """Refuse a picture in two classes or two splits."""
    (split, row), (other_split, again) = one, other
    if row.label != again.label:
        raise UserError(
            f"{again.where} assigns {picture} to class '{again.label}' but {row.where} to '{row.label}'",
            "put each picture into one class.",
        )
    if split != other_split:
        raise UserError(f"{again.where} and {row.where} both list {picture}", "put each picture into one split.")


class _Pictures:
    """Finds the picture of a row.

    There may be a million rows, and as many pictures of one name, so every search is a dictionary lookup.
    """

    def __init__(self, root: Path, folder: str, files: PictureFiles, rows: Sequence[_Row]) -> None:
        self._root, self._folder = root, folder
        self._below = cache(partial(_below, resolve_path(str(root))))
        self._labels = {_normalise(row.label) for row in rows}
        lengths = {depth for row in rows for end in _suffixes(row.filename) for depth in [end.count("/") + 1]}
        self._written = set(files.pictures)
        self._paths: dict[str, list[str]] = defaultdict(list)  # by normalised path
        self._ends: dict[str, list[str]] = defaultdict(list)  # by its last parts, of each length in `lengths`
        for picture in files.pictures:
            if picture.startswith(folder):
                path = _normalise(picture)
                self._paths[path].append(picture)
                parts = path.split("/")
                for length in lengths:
                    if length <= len(parts):
                        self._ends["/".join(parts[-length:])].append(picture)
        self._inside: dict[tuple[str, int], dict[str, list[str]]] = {}
        self._others = {_normalise(other) for other in files.others}

    def find(self, row: _Row) -> str:
        """Return the picture of a row."""
        if (exact := f"{self._folder}{row.filename}") in self._written:
            return exact
        if Path(row.filename).is_absolute():
            return self._at(row)
        ends = _suffixes(row.filename)
        wanted = next((end for end in ends if end in self._ends), ends[-1])
        found = self._ends.get(wanted, [])
        if not found:
            self._raise_missing(row, wanted)
        if len(found) > 1:
            exactly = self._paths.get(_normalise(self._folder) + wanted, [])
            return exactly[0] if len(exactly) == 1 else self._of_label(found, row, wanted)
        if "/" not in wanted:
            self._check_folder(found[0], row)
        return found[0]

    def _at(self, row: _Row) -> str:
        """Return the picture at an absolute path."""
        folder, filename = os.path.split(os.path.normpath(row.filename))
        if (below := self._below(folder)) is None:
            raise UserError(
                f"{row.where} names '{row.filename}', which is outside {self._root}",
                "move the picture there, or write paths relative to the table.",
            )
        path = posixpath.normpath(f"{below}/{filename}")
        if path in self._written:
            return path
        if not (found := self._paths.get(_normalise(path))):
            self._raise_missing(row, _normalise(path))
        return found[0]

    def _of_label(self, found: Sequence[str], row: _Row, wanted: str) -> str:
        """Return the one of several pictures that is in the folder of a row's label, or directly in `images`."""
        label = _normalise(row.label)
        length = label.count("/") + 1
        if (wanted, length) not in self._inside:
            self._inside[wanted, length] = _by_folders(found, length)
        chosen = self._inside[wanted, length].get(label, [])
        if len(chosen) > 1:
            direct = [picture for picture in chosen if f"/{_normalise(picture)}".endswith(f"/{label}/{wanted}")]
            chosen = direct if len(direct) == 1 else chosen
        if not chosen and (of_images := f"{self._folder}images/{wanted}") in self._written:
            chosen = [of_images]
        if len(chosen) == 1:
            return chosen[0]
        first, second, *more = chosen or found
        raise UserError(
            f"{row.where} names '{row.filename}', which matches {first} and {second}"
            f"{f' and {len(more):,} more' if more else ''}, {'all' if chosen else 'none'} in a folder named "
            f"'{row.label}'",
            "write the full path into the table.",
        )

    def _check_folder(self, picture: str, row: _Row) -> None:
        """Refuse a picture in the folder of another class: the right one may be missing."""
        folder = posixpath.basename(posixpath.dirname(_normalise(picture)))
        if folder in self._labels and folder != _normalise(row.label):
            raise UserError(
                f"{row.where} assigns '{row.filename}' to class '{row.label}' but the only such file is in the folder "
                f"of another class, {picture}",
                "complete your copy, or write the full path into the table.",
            )

    def _raise_missing(self, row: _Row, wanted: str) -> NoReturn:
        if any(f"/{other}".endswith(f"/{wanted}") for other in self._others):
            raise UserError(
                f"{row.where} names '{row.filename}', which is not a supported picture ({SHOWN_SUFFIXES})",
                "convert it.",
            )
        raise UserError(f"{row.where} names '{row.filename}', which does not exist", "complete your copy.")


def _normalise(path: str) -> str:
    """Normalise accents to NFC; zips packed on a Mac have NFD."""
    return unicodedata.normalize("NFC", path)


def _wanted(filename: str) -> str:
    """Return a path as written in a table in the form of the paths in `PictureFiles`."""
    return posixpath.normpath(_normalise(filename.replace("\\", "/")))


def _suffixes(filename: str) -> list[str]:
    """Return the suffixes of a path that may match a picture, the longest first."""
    wanted = _wanted(filename)
    if ntpath.splitdrive(filename)[0]:
        parts = wanted.split("/")[-_MAX_PARTS:]
        return ["/".join(parts[i:]) for i in range(len(parts))]
    return [wanted, *([wanted.removeprefix("images/")] if wanted.startswith("images/") else [])]


def _below(root: Path, folder: str) -> str | None:
    """Resolve an absolute path of a folder relative to `root`, which has no links; None if it is outside.

    Links are followed only until the path is below `root`: a class there may be a link to elsewhere.
    """
    path = Path(folder)
    for above in (*reversed(path.parents), path):
        if not is_folder(above):
            return None
        if (real := resolve_path(str(above))).is_relative_to(root):
            return (real.relative_to(root) / path.relative_to(above)).as_posix()
    return None


def _by_folders(pictures: Iterable[str], length: int) -> dict[str, list[str]]:
    """Group pictures by every run of `length` consecutive folders in their paths."""
    found: dict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        parts = _normalise(picture).split("/")[:-1]
        for label in {"/".join(parts[i : i + length]) for i in range(len(parts) - length + 1)}:
            found[label].append(picture)
    return found


def _rows(root: Path, table: str, read: ReadFile) -> Iterator[_Row]:
    """Yield the rows of a table, without empty lines."""
    rows = csv.DictReader(io.StringIO(read(table).decode("utf-8-sig", "replace"), newline=""))
    try:
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            found = ", ".join(f"'{column}'" for column in rows.fieldnames or ()) or "nothing"
            remedy = _remedy(rows.fieldnames or ())
            raise UserError(
                f"{table} in {root} needs the columns filename and label but has {found[:100]}", f"{remedy}."
            )
        for row in rows:
            where = f"line {rows.line_num} of {table} in {root}"
            if not row["filename"] or not row["label"]:
                raise UserError(f"{where} has no filename or no label", "fix it.")
            yield _Row(where, row["filename"], row["label"])
    except csv.Error as error:
        raise UserError(f"{table} in {root} cannot be read ({error})", "fix or remove it.") from error


def _remedy(columns: Sequence[str]) -> str:
    """Return how to fix the columns, which may only be spelt or separated in another way."""
    words = re.split(r"[,;\t|]", ",".join(columns))
    meant = [word for word in words if word.strip().casefold() in ("filename", "label")]
    if {word.strip().casefold() for word in meant} != {"filename", "label"}:
        return "fix or remove it"
    how = {
        "in lower case": any(word.strip().casefold() != word.strip() for word in meant),
        "without spaces": any(word != word.strip() for word in meant),
        "separated by a comma": len(words) > len(columns),
    }
    return f"write them {' and '.join(each for each, differs in how.items() if differs)}"


def count_unlisted(files: PictureFiles, splits: Mapping[Split, Classes]) -> int:
    """Return how many pictures are in no table."""
    return len(files.pictures) - sum(len(named) for classes in splits.values() for named in classes.values())
