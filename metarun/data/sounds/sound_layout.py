"""Which recordings of a folder or zip belong to which class and split, told from where they lie or from a table."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from metarun.data.class_splits import choose_splits
from metarun.data.examples import SPLITS, Skipped, Split, check_disjoint
from metarun.data.pictures.picture_files import count_by_suffix, is_ignored
from metarun.data.sounds.sound_decoding import SUFFIXES
from metarun.errors import UserError, counted

Classes = dict[str, list[str]]  # the class's name -> names of its files
SHOWN = ", ".join(SUFFIXES[:4])
TABLE_VERSION = 2  # raise it with every change that can change what a table says of a recording


@dataclass(frozen=True)
class SoundTable:
    """A table that says which recording is of which class.

    Args:
        path: of the table.
        written: the path as the user wrote it, for messages.
        filename: the column of paths, from the folder or zip of the recordings.
        label: the column of classes.
        split: the column of train, val and test; None: there is none.
        groups: columns of groups, such as who speaks.
    """

    path: Path
    written: str
    filename: str
    label: str
    split: str | None
    groups: tuple[str, ...] = field(default=(), repr=False)  # the keys of existing caches contain the repr


def by_folders(
    name: str, root: Path, names: Iterable[str], split: str | None, seed: int
) -> tuple[dict[Split, Classes], Skipped]:
    """Return the files of each class of each split, as they lie.

    Below any number of folders that hold everything there are `<train|val|test>/<class>/*`, or `<class>/*`, whose
    classes a split file or a seed splits. A class may be a folder of folders (`birds/wren/*`).

    Args:
        name: of the data set, for messages.
        root: the folder or zip.
        names: of all files in it.
        split: a file that lists classes, whatever the layout; None: as they lie, or by `seed`.
        seed: of a split by chance.

    Raises:
        UserError: there are no recordings, one lies in no folder of a class, or the split is wrong.
    """
    shown = [file for file in sorted(names) if not is_ignored(file, SUFFIXES)]
    sounds = [file for file in shown if _is_sound(file)]
    others = count_by_suffix(file for file in shown if not _is_sound(file))
    if not sounds:
        only = f", only {others}" if others else ""
        raise UserError(f"{root} has no recordings ({SHOWN}){only}", "add some, or correct `data.root`.")
    top = _top(sounds)
    warnings = [f"skipped, because they are not recordings: {others}"] if others else []
    folders = {file[len(top) :].partition("/")[0] for file in sounds}
    if set(SPLITS) <= folders:
        lying = {which: _by_folder(root, f"{top}{which}/", sounds) for which in SPLITS}
        check_disjoint(name, {which: list(classes) for which, classes in lying.items()})
        beside = sum(file[len(top) :].partition("/")[0] not in SPLITS for file in sounds)
        if beside:
            warnings.append(f"{counted(beside, 'recording')} outside train, val and test skipped")
        if split is None:
            return lying, Skipped(warnings=tuple(warnings))
        classes = {c: files for of_split in lying.values() for c, files in of_split.items()}
    else:
        classes = _by_folder(root, top, sounds)
    lists, skipped = choose_splits(str(root), list(classes), split, seed)
    found = {which: {c: classes[c] for c in lists[which]} for which in SPLITS}
    return found, Skipped(skipped.unlisted, (*skipped.warnings, *warnings))


def by_table(
    root: Path, names: Iterable[str], table: SoundTable, split: str | None, seed: int
) -> tuple[dict[Split, Classes], Skipped]:
    """Return the files of each class of each split, as a table says.

    Args:
        root: the folder or zip.
        names: of all files in it.
        table: of files and classes.
        split: a file that lists classes; None: by the table's column, or by `seed`.
        seed: of a split by chance.

    Raises:
        UserError: the table cannot be read or lacks a column, a row names no recording, one of another class or another
            split, or the split is wrong; the message names the line.
    """
    there = {*names}
    rows: dict[str, _Row] = {}  # by file
    repeated = 0
    for row in _rows(table):
        if row.file not in there:
            raise UserError(
                f"line {row.line} of {table.path} names '{row.file}', which is not in {root}",
                "add it, or correct `data.root`.",
            )
        known = rows.setdefault(row.file, row)
        if known.label != row.label:
            raise UserError(
                f"line {row.line} of {table.path} gives '{row.file}' the class '{row.label}' but line {known.line} "
                f"'{known.label}'",
                "give each recording one class.",
            )
        repeated += known is not row
    classes: Classes = defaultdict(list)
    for file in sorted(rows):
        classes[rows[file].label].append(file)
    classes = dict(sorted(classes.items()))
    by_column = _splits_by_column(table, rows.values()) if table.split else None
    lists, skipped = choose_splits(str(table.path), list(classes), split, seed, by_column)
    unlisted = sum(file not in rows and _is_sound(file) for file in there)
    beside = [f"{counted(unlisted, 'recording')} not in {table.path.name}"] if unlisted else []
    notes = [f"{counted(repeated, 'row')} of {table.path.name} that repeat another skipped"] if repeated else []
    found = {which: {c: classes[c] for c in lists[which]} for which in SPLITS}
    return found, Skipped((*skipped.unlisted, *beside), (*skipped.warnings, *notes))


def groups_by_file(table: SoundTable) -> dict[str, dict[str, str]]:
    """Return the group of each file by the name of a grouping; of several rows of a file the first one counts."""
    found: dict[str, dict[str, str]] = {name: {} for name in table.groups}
    for row in _rows(table):
        for name, group in zip(table.groups, row.groups, strict=True):
            found[name].setdefault(row.file, group)
    return found


@dataclass(frozen=True)
class _Row:
    line: int  # of the table's file, from 1
    file: str
    label: str
    split: str  # "" where there is no such column
    groups: tuple[str, ...]


def _rows(table: SoundTable) -> Iterator[_Row]:
    from metarun.data.tables.table_file import check_columns, check_filled, line_of, read_table  # pandas: half a second

    columns = {"filename": table.filename, "label": table.label}
    columns |= {"split_column": table.split} if table.split else {}
    named = [*columns.items(), *(("groups", column) for column in table.groups)]
    frame = read_table(table.path, table.written, key="table", names=[column for _, column in named])
    for key, column in named:
        check_columns(frame, table.path, key, [column])
        check_filled(frame, table.path, [column], header=True)
    texts = zip(*(frame[column].astype(str).str.strip() for _, column in named), strict=True)
    for row, (file, label, *others) in enumerate(texts):
        name = PurePosixPath(file.replace("\\", "/")).as_posix()
        split = others.pop(0) if table.split else ""
        yield _Row(line_of(row, header=True), name, label, split, tuple(others))


def _splits_by_column(table: SoundTable, rows: Iterable[_Row]) -> dict[str, str]:
    first: dict[str, _Row] = {}
    for row in rows:
        known = first.setdefault(row.label, row)
        if known.split != row.split:
            raise UserError(
                f"line {row.line} of {table.path} puts class '{row.label}' into '{row.split}' but line {known.line} "
                f"into '{known.split}'",
                "give each class to one split.",
            )
    return {class_name: row.split for class_name, row in first.items()}


def _is_sound(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in SUFFIXES


def _top(sounds: Sequence[str]) -> str:
    """Return the folder that holds everything, as zips often have one, with its slash; "" where there is none."""
    shared = os.path.commonprefix([file.split("/")[:-2] for file in (sounds[0], sounds[-1])])  # noqa: RUF071, by part
    ends = (i for i, folder in enumerate(shared) if folder in SPLITS)
    return "".join(f"{folder}/" for folder in shared[: next(ends, len(shared))])


def _by_folder(root: Path, folder: str, sounds: Sequence[str]) -> Classes:
    classes: Classes = defaultdict(list)
    for sound in sounds:
        if sound.startswith(folder):
            class_name, slash, _ = sound[len(folder) :].rpartition("/")
            if not slash:
                raise UserError(
                    f"{sound} in {root} is not in a class folder",
                    "move it into one, or name the classes in a table (data.table=FILE).",
                )
            classes[class_name].append(sound)
    return dict(sorted(classes.items()))
