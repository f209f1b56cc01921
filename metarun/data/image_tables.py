"""Tables that say which picture is of which class: `train.csv`, `val.csv` and `test.csv`, of filename and label."""

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

from metarun.data.archive import Read
from metarun.data.examples import SPLITS, Split
from metarun.data.picture_files import SHOWN, PictureFiles
from metarun.errors import UserError
from metarun.system.paths import is_folder, resolve_path

TABLES: dict[Split, str] = {which: f"{which}.csv" for which in SPLITS}
_MOST_PARTS = 64  # of a path whose every end is tried
Classes = dict[str, list[str]]  # the class's name -> names of its files


@dataclass(frozen=True)
class _Row:
    where: str  # for messages
    filename: str
    label: str


def read_tables(
    place: Path, folder: str, read: Read, files: PictureFiles
) -> tuple[dict[Split, Classes], dict[Split, int]]:
    """Return the pictures of each class of each split; and of each split how many rows only repeat another.

    A row's file name is the path of a picture from the tables' own folder, or the end of the path of one below it,
    whole folders only. Of several the one in the folder that is named like the label is meant. Backslashes serve, and
    so does any way to write an accent. An absolute path is followed through all links to where it lies in `place`; of
    one with a drive of Windows, which may be another computer's, the longest end that there is counts.

    Args:
        place: the folder or zip, for messages.
        folder: where the tables lie in it, "" or "some/folder/".
        read: returns a file's content.
        files: of `place`.

    Raises:
        UserError: a table is damaged or empty, it names what is not there or may be one of several pictures, or a
            picture is given to two classes or two splits.
    """
    rows = {which: list(_rows(place, f"{folder}{which}.csv", read)) for which in SPLITS}
    pictures = _Pictures(place, folder, files, [row for of_split in rows.values() for row in of_split])
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
                f"{folder}{which}.csv in {place} names no pictures, but every split needs some", "complete your copy."
            )
        splits[which] = {class_name: sorted(classes[class_name]) for class_name in sorted(classes)}
    return splits, repeated


def _check_same(picture: str, one: tuple[Split, _Row], other: tuple[Split, _Row]) -> None:
    """Refuse a picture of two classes or splits."""
    (split, row), (other_split, again) = one, other
    if row.label != again.label:
        raise UserError(
            f"{again.where} gives {picture} to class '{again.label}' but {row.where} gave it to '{row.label}'",
            "give each picture to one class.",
        )
    if split != other_split:
        raise UserError(f"{again.where} names {picture}, as {row.where} does", "give each picture to one split.")


class _Pictures:
    """The pictures that rows may mean.

    There may be a million rows, and as many pictures of one name: all lists are looked up, none is gone through.
    """

    def __init__(self, place: Path, folder: str, files: PictureFiles, rows: Sequence[_Row]) -> None:
        self._place, self._folder = place, folder
        self._below = cache(partial(_below, resolve_path(str(place))))
        self._labels = {_plain(row.label) for row in rows}
        lengths = {depth for row in rows for end in _possible_ends(row.filename) for depth in [end.count("/") + 1]}
        self._written = set(files.pictures)
        self._paths: dict[str, list[str]] = defaultdict(list)  # by the plain way to write them
        self._ends: dict[str, list[str]] = defaultdict(list)  # by the last so many parts of that
        for picture in files.pictures:
            if picture.startswith(folder):
                path = _plain(picture)
                self._paths[path].append(picture)
                parts = path.split("/")
                for length in lengths:
                    if length <= len(parts):
                        self._ends["/".join(parts[-length:])].append(picture)
        self._inside: dict[tuple[str, int], dict[str, list[str]]] = {}
        self._others = {_plain(other) for other in files.others}

    def find(self, row: _Row) -> str:
        """Return the picture that a row means."""
        if (exact := f"{self._folder}{row.filename}") in self._written:
            return exact
        if Path(row.filename).is_absolute():
            return self._at(row)
        ends = _possible_ends(row.filename)
        wanted = next((end for end in ends if end in self._ends), ends[-1])
        found = self._ends.get(wanted, [])
        if not found:
            self._raise_absent(row, wanted)
        if len(found) > 1:
            exactly = self._paths.get(_plain(self._folder) + wanted, [])
            return exactly[0] if len(exactly) == 1 else self._of_label(found, row, wanted)
        if "/" not in wanted:
            self._check_folder(found[0], row)
        return found[0]

    def _at(self, row: _Row) -> str:
        """Return the picture at an absolute path."""
        folder, filename = os.path.split(os.path.normpath(row.filename))
        if (below := self._below(folder)) is None:
            raise UserError(
                f"{row.where} names '{row.filename}', which lies outside {self._place}",
                "put the picture there, or write paths from the folder of the table.",
            )
        path = posixpath.normpath(f"{below}/{filename}")
        if path in self._written:
            return path
        if not (found := self._paths.get(_plain(path))):
            self._raise_absent(row, _plain(path))
        return found[0]

    def _of_label(self, found: Sequence[str], row: _Row, wanted: str) -> str:
        """Return the one picture of several that lies in the folder of a row's label, or directly in `images`."""
        label = _plain(row.label)
        length = label.count("/") + 1
        if (wanted, length) not in self._inside:
            self._inside[wanted, length] = _by_folders(found, length)
        chosen = self._inside[wanted, length].get(label, [])
        if len(chosen) > 1:
            direct = [picture for picture in chosen if f"/{_plain(picture)}".endswith(f"/{label}/{wanted}")]
            chosen = direct if len(direct) == 1 else chosen
        if not chosen and (of_images := f"{self._folder}images/{wanted}") in self._written:
            chosen = [of_images]
        if len(chosen) == 1:
            return chosen[0]
        first, second, *more = chosen or found
        raise UserError(
            f"{row.where} names '{row.filename}', which may be {first} or {second}"
            f"{f' or one of {len(more):,} more' if more else ''}, {'all' if chosen else 'none'} in a folder named "
            f"'{row.label}'",
            "write the path into the table.",
        )

    def _check_folder(self, picture: str, row: _Row) -> None:
        """Refuse the picture of another class, where the one that is meant may be missing."""
        folder = posixpath.basename(posixpath.dirname(_plain(picture)))
        if folder in self._labels and folder != _plain(row.label):
            raise UserError(
                f"{row.where} gives '{row.filename}' to class '{row.label}' but the only one lies in the folder of "
                f"another, {picture}",
                "complete your copy, or write the path into the table.",
            )

    def _raise_absent(self, row: _Row, wanted: str) -> NoReturn:
        if any(f"/{other}".endswith(f"/{wanted}") for other in self._others):
            raise UserError(
                f"{row.where} names '{row.filename}', which is no picture that is read here ({SHOWN})", "convert it."
            )
        raise UserError(f"{row.where} names '{row.filename}', which is not there", "complete your copy.")


def _plain(path: str) -> str:
    """Write accents in the one way that a zip packed on a Mac does not."""
    return unicodedata.normalize("NFC", path)


def _wanted(filename: str) -> str:
    """Return the plain way to write a path, whoever wrote it."""
    return posixpath.normpath(_plain(filename.replace("\\", "/")))


def _possible_ends(filename: str) -> list[str]:
    """Return the ends of a path that may be a picture's, the longest first."""
    wanted = _wanted(filename)
    if ntpath.splitdrive(filename)[0]:
        parts = wanted.split("/")[-_MOST_PARTS:]
        return ["/".join(parts[i:]) for i in range(len(parts))]
    return [wanted, *([wanted.removeprefix("images/")] if wanted.startswith("images/") else [])]


def _below(root: Path, folder: str) -> str | None:
    """Return where an absolute path of a folder leads, as a path from `root`, which is one without links.

    It is followed only until it is below `root`, where a class may be a link to elsewhere. None: it leads outside.
    """
    path = Path(folder)
    for above in (*reversed(path.parents), path):
        if not is_folder(above):
            return None
        if (real := resolve_path(str(above))).is_relative_to(root):
            return (real.relative_to(root) / path.relative_to(above)).as_posix()
    return None


def _by_folders(pictures: Iterable[str], length: int) -> dict[str, list[str]]:
    """Return the pictures by each folder, or path of so many folders, that they lie in, at whatever depth."""
    found: dict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        parts = _plain(picture).split("/")[:-1]
        for label in {"/".join(parts[i : i + length]) for i in range(len(parts) - length + 1)}:
            found[label].append(picture)
    return found


def _rows(place: Path, table: str, read: Read) -> Iterator[_Row]:
    """Yield the rows of a table; empty lines are none."""
    rows = csv.DictReader(io.StringIO(read(table).decode("utf-8-sig", "replace"), newline=""))
    try:
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            found = ", ".join(f"'{column}'" for column in rows.fieldnames or ()) or "nothing"
            remedy = _remedy(rows.fieldnames or ())
            raise UserError(
                f"{table} in {place} has not the columns filename and label but {found[:100]}", f"{remedy}."
            )
        for row in rows:
            where = f"line {rows.line_num} of {table} in {place}"
            if not row["filename"] or not row["label"]:
                raise UserError(f"{where} lacks filename or label", "mend it.")
            yield _Row(where, row["filename"], row["label"])
    except csv.Error as error:
        raise UserError(f"{table} in {place} cannot be read ({error})", "mend it or take it away.") from error


def _remedy(columns: Sequence[str]) -> str:
    """Return what helps where the columns are not filename and label, which may only be written otherwise."""
    words = re.split(r"[,;\t|]", ",".join(columns))
    meant = [word for word in words if word.strip().casefold() in ("filename", "label")]
    if {word.strip().casefold() for word in meant} != {"filename", "label"}:
        return "mend it or take it away"
    how = {
        "in lower case": any(word.strip().casefold() != word.strip() for word in meant),
        "without spaces": any(word != word.strip() for word in meant),
        "with a comma between": len(words) > len(columns),
    }
    return f"write them {' and '.join(each for each, differs in how.items() if differs)}"


def count_unnamed(files: PictureFiles, splits: Mapping[Split, Classes]) -> int:
    """Return how many pictures no table names."""
    return len(files.pictures) - sum(len(named) for classes in splits.values() for named in classes.values())
