"""Which pictures of a folder or zip belong to which class and split, told from where they lie."""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from metarun.data.archive import Read
from metarun.data.examples import SPLITS, Split, check_disjoint
from metarun.data.image_decoding import SUFFIXES
from metarun.data.splits import split_by_file
from metarun.errors import UserError

Classes = dict[str, list[str]]  # the class's name -> names of its files
SplitFile = tuple[str, bytes]  # what messages call it, its content
SPLIT_FILE = "split.json"


def arrange(
    name: str, place: Path, names: Sequence[str], read: Read, split_file: SplitFile | None
) -> dict[Split, Classes]:
    """Return the files of each class of each split; classes and files in the order of their names.

    Three layouts are known, below any number of folders that hold everything: `<train|val|test>/<class>/*`; `images/*`
    with the tables `train.csv`, `val.csv` and `test.csv` of the columns filename and label (Ravi and Larochelle 2017);
    and `<class>/*` with a split file (see `metarun.data.splits`), which may lie there as `split.json`.

    Args:
        name: of the data set, for messages.
        place: the folder or zip.
        names: of all files in it.
        read: returns a file's content.
        split_file: decides which classes are whose, whatever the layout; None: as the pictures lie.

    Raises:
        UserError: no such layout, a split without classes, a class in two splits, a damaged list.
    """
    pictures = [PurePosixPath(file) for file in sorted(names) if _is_picture(PurePosixPath(file))]
    _check_names(place, pictures)
    if not pictures:
        raise UserError(f"{place} holds no pictures ({', '.join(SUFFIXES)}); put them there, or correct `data.root`.")
    top = _top(pictures)
    tables = {which: (top / f"{which}.csv").as_posix() for which in SPLITS}
    if set(tables.values()) <= set(names):
        splits = {which: _read_table(place, tables[which], read, pictures) for which in SPLITS}
    elif {*SPLITS} <= {picture.relative_to(top).parts[0] for picture in pictures}:  # one alone may be a class: a train
        splits = {which: _by_folder(place, top / which, pictures) for which in SPLITS}
    else:
        split_file = split_file or _find_split_file(place, top, names, read)
        return _choose(name, split_file, _by_folder(place, top, pictures))
    check_disjoint(name, {which: list(classes) for which, classes in splits.items()})
    if split_file is None:
        return splits
    return _choose(name, split_file, {c: files for classes in splits.values() for c, files in classes.items()})


def _check_names(place: Path, pictures: Sequence[PurePosixPath]) -> None:
    """Refuse what is no text: a class's name is written into tables and hashes."""
    for picture in pictures:
        try:
            str(picture).encode()
        except UnicodeEncodeError:
            raise UserError(f"{place} holds {str(picture)!a}, a name that is no UTF-8; give it another.") from None


def _is_picture(file: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in file.parts)
    return file.suffix.lower() in SUFFIXES and not hidden


def _top(pictures: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the folder that holds everything, as zips often have one; folders of a class or a split are none."""
    shared = os.path.commonprefix([picture.parts for picture in pictures])  # noqa: RUF071, of tuples: by part
    shallowest = min(len(picture.parts) for picture in pictures)
    ends = (i for i, folder in enumerate(shared) if folder in {*SPLITS, "images"} or shallowest - i < 3)
    return PurePosixPath(*shared[: next(ends, len(shared))])


def _by_folder(place: Path, folder: PurePosixPath, pictures: Sequence[PurePosixPath]) -> Classes:
    classes: Classes = defaultdict(list)
    for picture in pictures:
        if picture.is_relative_to(folder):
            class_name = picture.relative_to(folder).parent.as_posix()
            if class_name == ".":
                raise UserError(f"{picture} in {place} lies in no folder of a class; put it into one or take it away.")
            classes[class_name].append(picture.as_posix())
    return dict(sorted(classes.items()))


def _read_table(place: Path, table: str, read: Read, pictures: Sequence[PurePosixPath]) -> Classes:
    where = {picture.name: picture.as_posix() for picture in pictures}
    classes: Classes = defaultdict(list)
    for filename, label in _rows(place, table, read(table)):
        if filename not in where:
            raise UserError(f"{table} in {place} names '{filename}', which is not there; complete your copy.")
        classes[label].append(where[filename])
    if not classes:
        raise UserError(f"{table} in {place} names no pictures, but every split needs some; complete your copy.")
    return {class_name: sorted(classes[class_name]) for class_name in sorted(classes)}


def _rows(place: Path, table: str, content: bytes) -> Iterator[tuple[str, str]]:
    """Yield filename and label of each row."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig", "replace")))
    try:
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            raise UserError(f"{table} in {place} has not the columns filename and label; mend it or take it away.")
        for row in rows:
            if not row["filename"] or not row["label"]:
                raise UserError(f"line {rows.line_num} of {table} in {place} lacks filename or label; mend it.")
            yield row["filename"], row["label"]
    except csv.Error as error:
        raise UserError(f"{table} in {place} cannot be read ({error}); mend it or take it away.") from error


def _find_split_file(place: Path, top: PurePosixPath, names: Sequence[str], read: Read) -> SplitFile:
    for inside in (SPLIT_FILE, (top / SPLIT_FILE).as_posix()):
        if inside in names:
            return f"{place / inside}", read(inside)
    raise UserError(
        f"{place} has neither pictures in folders train, val and test, all three, nor a {SPLIT_FILE}; "
        "say with `data.split=FILE` which classes are whose."
    )


def _choose(name: str, split_file: SplitFile, classes: Classes) -> dict[Split, Classes]:
    """Return the classes that a split file gives to each split."""
    lists = split_by_file(name, *split_file, list(classes))
    return {which: {class_name: classes[class_name] for class_name in lists[which]} for which in SPLITS}
