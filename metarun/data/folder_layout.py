"""Which pictures of a folder or zip belong to which class and split, told from where they lie."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.data.archive import Read
from metarun.data.examples import SPLITS, LeftOut, Split, check_disjoint
from metarun.data.image_left_out import at_or_above, at_other_depths, outside, skipped, without_pictures
from metarun.data.image_tables import TABLES, Classes, count_unnamed, read_tables
from metarun.data.picture_files import SHOWN, PictureFiles, count_by_suffix, find_pictures
from metarun.data.splits import split_by_file
from metarun.errors import UserError, counted

SplitFile = tuple[str, bytes]  # what messages call it, its content
SPLIT_FILE = "split.json"
_SPELLINGS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Layout:
    """The files of each class of each split, classes and files in the order of their names; and what is in none."""

    splits: dict[Split, Classes]
    left_out: LeftOut


def arrange(
    name: str, place: Path, names: Sequence[str], read: Read, split_file: SplitFile | None, empty: Iterable[str] = ()
) -> Layout:
    """Return the files of each class of each split.

    Three layouts are known, below any number of folders that hold everything: `<train|val|test>/<class>/*`; `images/*`
    with the tables `train.csv`, `val.csv` and `test.csv` of the columns filename and label (Ravi and Larochelle 2017;
    see `metarun.data.image_tables`); and `<class>/*` with a split file (see `metarun.data.splits`), which may lie there
    as `split.json`. A class may be a folder of folders (`Greek/alpha/*`), but none holds pictures and classes alike.

    Args:
        name: of the data set, for messages.
        place: the folder or zip.
        names: of all files in it.
        read: returns a file's content.
        split_file: decides which classes are whose, whatever the layout; None: as the pictures lie.
        empty: the folders in it without anything in them.

    Raises:
        UserError: no such layout, a split without classes, a class in two splits, a damaged list, a folder of which it
            is not clear whether it is a class.
    """
    files = find_pictures(names, read)
    _check_names(place, files.pictures)
    if not files.pictures:
        only = f" that are read here, only {count_by_suffix(files.others)}" if files.others else ""
        raise UserError(f"{place} holds no pictures ({SHOWN}){only}", "put them there, or correct `data.root`.")
    found = _look(name, place, files, names, read)
    by_choice, splits = found.left_out.by_choice, found.splits
    if split_file is None and not splits:
        split_file = _find_split_file(place, found.top, names, read, files)
    classes = {c: of_class for of_split in splits.values() for c, of_class in of_split.items()}
    classes = classes or _by_folder(place, found.top, files.pictures)
    if split_file is not None:
        splits, unnamed = _choose(name, split_file, classes, files)
        by_choice += unnamed
    unasked = [*found.left_out.unasked]
    if not found.tables:
        _check_holds_no_class(place, splits, classes)
        unasked += [*at_other_depths(splits), *without_pictures(found.roots, files, empty)]
    others = [file for file in files.others if file not in found.tables and not file.endswith(SPLIT_FILE)]
    return Layout(splits, LeftOut(by_choice, (*unasked, *skipped(others))))


@dataclass(frozen=True)
class _AsItLies:
    """What is told by the places of pictures and tables alone.

    Args:
        top: the folder that holds everything.
        splits: nothing where only a split file can tell.
        roots: the folders that hold those of classes.
        tables: names of them.
        left_out: what is in no split.
    """

    top: str
    splits: dict[Split, Classes]
    roots: Sequence[str] = ()
    tables: Collection[str] = ()
    left_out: LeftOut = field(default_factory=LeftOut)


def _look(name: str, place: Path, files: PictureFiles, names: Sequence[str], read: Read) -> _AsItLies:
    top = _top(files.pictures)
    roots = [f"{top}{which}/" for which in SPLITS]
    if (folder := _find_tables(top, names)) is not None:
        splits, left_out = _by_tables(place, folder, read, files)
        found = _AsItLies(top, splits, tables={f"{folder}{table}" for table in TABLES.values()}, left_out=left_out)
    elif all(any(picture.startswith(root) for picture in files.pictures) for root in roots):  # one alone may be a class
        splits = {which: _by_folder(place, root, files.pictures) for which, root in zip(SPLITS, roots, strict=True)}
        found = _AsItLies(top, splits, roots, left_out=LeftOut(unasked=outside(top, files.pictures)))
    else:
        return _AsItLies(top, {}, [top])
    check_disjoint(name, {which: list(classes) for which, classes in found.splits.items()})
    return found


def _check_names(place: Path, pictures: Sequence[str]) -> None:
    """Refuse what is no text: a class's name is written into tables and hashes."""
    for picture in pictures:
        try:
            picture.encode()
        except UnicodeEncodeError:
            raise UserError(f"{place} holds {picture!a}, a name that is no UTF-8", "give it another.") from None


def _top(pictures: Sequence[str]) -> str:
    """Return the folder that holds everything, as zips often have one, with its slash; "" where there is none.

    Folders of a class or a split are none.
    """
    parts = [picture.split("/") for picture in (pictures[0], pictures[-1])]  # what they share, all between them do
    shared = os.path.commonprefix(parts)  # noqa: RUF071, of lists: by part
    shallowest = min(picture.count("/") for picture in pictures) + 1
    ends = (i for i, folder in enumerate(shared) if folder in {*SPLITS, "images"} or shallowest - i < 3)
    return "".join(f"{folder}/" for folder in shared[: next(ends, len(shared))])


def _find_tables(top: str, names: Sequence[str]) -> str | None:
    """Return the folder of the three tables."""
    there = {*names}
    return next((a for a in at_or_above(top) if {f"{a}{table}" for table in TABLES.values()} <= there), None)


def _by_tables(place: Path, folder: str, read: Read, files: PictureFiles) -> tuple[dict[Split, Classes], LeftOut]:
    splits, repeated = read_tables(place, folder, read, files)
    unnamed = count_unnamed(files, splits)
    return splits, LeftOut(
        (f"{counted(unnamed, 'picture')} that the tables do not name",) if unnamed else (),
        tuple(
            f"1 row of {which}.csv names a picture once more and counts once"
            if count == 1
            else f"{count:,} rows of {which}.csv name a picture of theirs once more and count once"
            for which, count in repeated.items()
            if count
        ),
    )


def _by_folder(place: Path, folder: str, pictures: Sequence[str]) -> Classes:
    classes: Classes = defaultdict(list)
    for picture in pictures:
        if picture.startswith(folder):
            class_name, slash, _ = picture[len(folder) :].rpartition("/")
            if not slash:
                raise UserError(
                    f"{picture} in {place} lies in no folder of a class", "put it into one or take it away."
                )
            classes[class_name].append(picture)
    return dict(sorted(classes.items()))


def _check_holds_no_class(place: Path, splits: Mapping[Split, Classes], classes: Classes) -> None:
    """Refuse a class that holds folders of pictures beside its own: that they are classes too would be a guess."""
    chosen = {_folder(files): files for of_split in splits.values() for files in of_split.values()}
    for files in classes.values():
        for above in at_or_above(_folder(files))[1:]:
            if above in chosen:
                own = counted(len(chosen[above]), "picture")
                inside = sum(_folder(others).startswith(above) for others in classes.values()) - 1
                raise UserError(
                    f"{above[:-1]} in {place} holds {own} and folders of pictures too "
                    f"({inside:,}, such as {_folder(files)[:-1]} with {len(files):,}), so it is not clear which of "
                    f"them is the class",
                    f"move all pictures into {above[:-1]}, or each into a folder without folders.",
                )


def _folder(files: Sequence[str]) -> str:
    return f"{files[0].rpartition('/')[0]}/"


def _find_split_file(place: Path, top: str, names: Sequence[str], read: Read, files: PictureFiles) -> SplitFile:
    for folder in reversed(at_or_above(top)):
        if (inside := f"{folder}{SPLIT_FILE}") in names:
            return f"{place / inside}", read(inside)
    _check_spelling(place / top, {picture[len(top) :].partition("/")[0] for picture in files.pictures})
    for folder in at_or_above(top):
        _check_tables_complete(place / folder, {name[len(folder) :] for name in names if name.startswith(folder)})
    raise UserError(
        f"{place} has neither pictures in folders train, val and test, all three, nor a {SPLIT_FILE}",
        f"say with `data.split=FILE` which classes are whose.{_hint(files)}",
    )


def _check_tables_complete(folder: Path, names: Collection[str]) -> None:
    """Refuse some of the three tables without the rest."""
    _check_spelling(folder, {name.removesuffix(".csv") for name in names if name.endswith(".csv")}, ".csv")
    there = [table for table in TABLES.values() if table in names]
    if there:
        absent = [table for table in TABLES.values() if table not in names]
        are, them = ("is", "it") if len(absent) == 1 else ("are", "them")
        raise UserError(
            f"{_listed(absent)} {are} missing beside {_listed(there)} in {folder}",
            f"add {them}, or say with `data.split=FILE` which classes are whose.",
        )


def _check_spelling(folder: Path, names: Collection[str], suffix: str = "") -> None:
    """Refuse folders, or tables, that would be the three if they were called `train`, `val` and `test`."""
    absent = [which for which in SPLITS if which not in names]
    meant = {_SPELLINGS.get(name.casefold(), name.casefold()): name for name in sorted(names) if name not in SPLITS}
    if absent and all(which in meant for which in absent):
        are, them = ("is", "it") if len(absent) == 1 else ("are", "them")
        found, wanted = ([f"'{name}{suffix}'" for name in each] for each in ([meant[a] for a in absent], absent))
        raise UserError(f"in {folder} there {are} {_listed(found)}", f"rename {them} to {_listed(wanted)}.")


def _listed(words: Sequence[str]) -> str:
    return " and ".join([part for part in (", ".join(words[:-1]), words[-1]) if part])


def _hint(files: PictureFiles) -> str:
    """Say what may be the reason that something is not found."""
    others = [file for file in files.others if not file.endswith(SPLIT_FILE)]
    return f" (Skipped, as no pictures that are read here: {count_by_suffix(others)}.)" if others else ""


def _choose(
    name: str, split_file: SplitFile, classes: Classes, files: PictureFiles
) -> tuple[dict[Split, Classes], tuple[str, ...]]:
    """Return the classes that a split file gives to each split, and what it does not name."""
    try:
        lists = split_by_file(name, *split_file, list(classes))
    except UserError as error:
        raise UserError(f"{error}{_hint(files)}") from error
    splits = {which: {class_name: classes[class_name] for class_name in lists[which]} for which in SPLITS}
    rest = [len(of_class) for c, of_class in classes.items() if not any(c in lists[which] for which in SPLITS)]
    count = f"{counted(len(rest), 'class')} of {counted(sum(rest), 'picture')}"
    clause = f"{count} that {Path(split_file[0]).name} does not name"
    return splits, (clause,) if rest else ()
