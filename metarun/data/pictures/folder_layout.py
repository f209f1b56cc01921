"""Find which pictures of a folder or zip belong to which class and split, from their paths."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.data.examples import SPLITS, Skipped, Split, check_disjoint
from metarun.data.files.archive import ReadFile
from metarun.data.pictures.image_tables import TABLES, Classes, count_unlisted, read_tables
from metarun.data.pictures.picture_files import SHOWN_SUFFIXES, PictureFiles, count_by_suffix, find_pictures
from metarun.data.pictures.skipped_images import (
    beside_splits,
    empty_classes,
    not_pictures,
    unusual_depths,
    with_parents,
)
from metarun.data.splits import split_by_file
from metarun.errors import UserError, counted

SplitFile = tuple[str, bytes]  # its name in messages, its content
SPLIT_FILE = "split.json"
_SPELLINGS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Layout:
    """The files of each class of each split, classes and files sorted by name, and what was skipped."""

    splits: dict[Split, Classes]
    skipped: Skipped


def find_layout(
    name: str, root: Path, names: Sequence[str], read: ReadFile, split_file: SplitFile | None, empty: Iterable[str] = ()
) -> Layout:
    """Return the files of each class of each split.

    Three layouts are known, inside any number of enclosing folders: `<train|val|test>/<class>/*`; `images/*` with the
    tables `train.csv`, `val.csv` and `test.csv` of the columns filename and label (Ravi and Larochelle 2017; see
    `metarun.data.pictures.image_tables`); and `<class>/*` with a split file (see `metarun.data.splits`), which may be a
    `split.json` in the folder. A class may be nested (`Greek/alpha/*`), but must not contain both pictures and classes.

    Args:
        name: of the data set, for messages.
        root: the folder or zip.
        names: of all files in it.
        read: returns a file's content.
        split_file: assigns classes to splits, whatever the layout; None: the layout does.
        empty: its empty folders.

    Raises:
        UserError: unknown layout, a split without classes, a class in two splits, a damaged list, or a folder that may
            or may not be a class.
    """
    files = find_pictures(names, read)
    _check_names(root, files.pictures)
    if not files.pictures:
        only = f", only {count_by_suffix(files.others)}" if files.others else ""
        raise UserError(
            f"{root} contains no supported pictures ({SHOWN_SUFFIXES}){only}", "add some, or correct `data.root`."
        )
    found = _detect(name, root, files, names, read)
    unlisted, splits = found.skipped.unlisted, found.splits
    if split_file is None and not splits:
        split_file = _find_split_file(root, found.top, names, read, files)
    classes = {c: of_class for of_split in splits.values() for c, of_class in of_split.items()}
    classes = classes or _by_folder(root, found.top, files.pictures)
    if split_file is not None:
        splits, not_in_file = _apply_split_file(name, split_file, classes, files)
        unlisted += not_in_file
    warnings = [*found.skipped.warnings]
    if not found.tables:
        _check_unambiguous(root, splits, classes)
        warnings += [*unusual_depths(splits), *empty_classes(found.parents, files, empty)]
    others = [file for file in files.others if file not in found.tables and not file.endswith(SPLIT_FILE)]
    return Layout(splits, Skipped(unlisted, (*warnings, *not_pictures(others))))


@dataclass(frozen=True)
class _Detected:
    """What the paths of pictures and tables say by themselves.

    Args:
        top: the folder that contains everything.
        splits: empty if a split file is needed.
        parents: the folders that contain the classes.
        tables: their names.
        skipped: what is in no split.
    """

    top: str
    splits: dict[Split, Classes]
    parents: Sequence[str] = ()
    tables: Collection[str] = ()
    skipped: Skipped = field(default_factory=Skipped)


def _detect(name: str, root: Path, files: PictureFiles, names: Sequence[str], read: ReadFile) -> _Detected:
    top = _top(files.pictures)
    parents = [f"{top}{which}/" for which in SPLITS]
    if (folder := _find_tables(top, names)) is not None:
        splits, skipped = _by_tables(root, folder, read, files)
        found = _Detected(top, splits, tables={f"{folder}{table}" for table in TABLES.values()}, skipped=skipped)
    elif all(any(picture.startswith(each) for picture in files.pictures) for each in parents):  # else they are classes
        splits = {which: _by_folder(root, each, files.pictures) for which, each in zip(SPLITS, parents, strict=True)}
        found = _Detected(top, splits, parents, skipped=Skipped(warnings=beside_splits(top, files.pictures)))
    else:
        return _Detected(top, {}, [top])
    check_disjoint(name, {which: list(classes) for which, classes in found.splits.items()})
    return found


def _check_names(root: Path, pictures: Sequence[str]) -> None:
    """Refuse names that are not UTF-8: class names are written into tables and hashes."""
    for picture in pictures:
        try:
            picture.encode()
        except UnicodeEncodeError:
            raise UserError(f"{root} contains {picture!a}, a name that is not UTF-8", "rename it.") from None


def _top(pictures: Sequence[str]) -> str:
    """Return the folder that contains everything, with its slash, as zips often have one; "" if there is none.

    The folder of a class or a split does not count.
    """
    parts = [picture.split("/") for picture in (pictures[0], pictures[-1])]
    shared = os.path.commonprefix(parts)  # noqa: RUF071, of lists: by part
    shallowest = min(picture.count("/") for picture in pictures) + 1
    ends = (i for i, folder in enumerate(shared) if folder in {*SPLITS, "images"} or shallowest - i < 3)
    return "".join(f"{folder}/" for folder in shared[: next(ends, len(shared))])


def _find_tables(top: str, names: Sequence[str]) -> str | None:
    """Return the folder that contains the three tables."""
    there = {*names}
    return next((a for a in with_parents(top) if {f"{a}{table}" for table in TABLES.values()} <= there), None)


def _by_tables(root: Path, folder: str, read: ReadFile, files: PictureFiles) -> tuple[dict[Split, Classes], Skipped]:
    splits, repeated = read_tables(root, folder, read, files)
    unlisted = count_unlisted(files, splits)
    return splits, Skipped(
        (f"{counted(unlisted, 'picture')} not in the tables",) if unlisted else (),
        tuple(
            f"ignored {counted(count, 'duplicate row')} of {which}.csv" for which, count in repeated.items() if count
        ),
    )


def _by_folder(root: Path, folder: str, pictures: Sequence[str]) -> Classes:
    classes: Classes = defaultdict(list)
    for picture in pictures:
        if picture.startswith(folder):
            class_name, slash, _ = picture[len(folder) :].rpartition("/")
            if not slash:
                raise UserError(f"{picture} in {root} is not in a class folder", "move it into one, or remove it.")
            classes[class_name].append(picture)
    return dict(sorted(classes.items()))


def _check_unambiguous(root: Path, splits: Mapping[Split, Classes], classes: Classes) -> None:
    """Refuse a class that also contains folders of pictures: whether they are classes would be a guess."""
    used = {_folder(files): files for of_split in splits.values() for files in of_split.values()}
    for files in classes.values():
        for above in with_parents(_folder(files))[1:]:
            if above in used:
                own = counted(len(used[above]), "picture")
                inside = sum(_folder(others).startswith(above) for others in classes.values()) - 1
                raise UserError(
                    f"{above[:-1]} in {root} contains {own} and also {counted(inside, 'folder')} of pictures (such "
                    f"as {_folder(files)[:-1]} with {len(files):,}), so it is unclear which of them is the class",
                    f"move all pictures into {above[:-1]}, or each into a folder without subfolders.",
                )


def _folder(files: Sequence[str]) -> str:
    return f"{files[0].rpartition('/')[0]}/"


def _find_split_file(root: Path, top: str, names: Sequence[str], read: ReadFile, files: PictureFiles) -> SplitFile:
    for folder in reversed(with_parents(top)):
        if (inside := f"{folder}{SPLIT_FILE}") in names:
            return f"{root / inside}", read(inside)
    _check_spelling(root / top, {picture[len(top) :].partition("/")[0] for picture in files.pictures})
    for folder in with_parents(top):
        _check_tables_complete(root / folder, {name[len(folder) :] for name in names if name.startswith(folder)})
    raise UserError(
        f"{root} has neither pictures in all three folders train, val and test, nor a {SPLIT_FILE}",
        f"list the classes of each split in a file and set `data.split=FILE`.{_hint(files)}",
    )


def _check_tables_complete(folder: Path, names: Collection[str]) -> None:
    """Refuse an incomplete set of the three tables."""
    _check_spelling(folder, {name.removesuffix(".csv") for name in names if name.endswith(".csv")}, ".csv")
    there = [table for table in TABLES.values() if table in names]
    if there:
        absent = [table for table in TABLES.values() if table not in names]
        are, them = ("is", "it") if len(absent) == 1 else ("are", "them")
        raise UserError(
            f"{_join(absent)} {are} missing beside {_join(there)} in {folder}",
            f"add {them}, or list the classes of each split in a file and set `data.split=FILE`.",
        )


def _check_spelling(folder: Path, names: Collection[str], suffix: str = "") -> None:
    """Refuse folders or tables that have other spellings of `train`, `val` and `test`."""
    absent = [which for which in SPLITS if which not in names]
    meant = {_SPELLINGS.get(name.casefold(), name.casefold()): name for name in sorted(names) if name not in SPLITS}
    if absent and all(which in meant for which in absent):
        them = "it" if len(absent) == 1 else "them"
        found, wanted = ([f"'{name}{suffix}'" for name in each] for each in ([meant[a] for a in absent], absent))
        raise UserError(f"{folder} contains {_join(found)}", f"rename {them} to {_join(wanted)}.")


def _join(words: Sequence[str]) -> str:
    return " and ".join([part for part in (", ".join(words[:-1]), words[-1]) if part])


def _hint(files: PictureFiles) -> str:
    """Return the files that were skipped: they may be why something is not found."""
    others = [file for file in files.others if not file.endswith(SPLIT_FILE)]
    return f" (Skipped unsupported files: {count_by_suffix(others)}.)" if others else ""


def _apply_split_file(
    name: str, split_file: SplitFile, classes: Classes, files: PictureFiles
) -> tuple[dict[Split, Classes], tuple[str, ...]]:
    """Return the classes that a split file assigns to each split, and what it does not list."""
    try:
        lists = split_by_file(name, *split_file, list(classes))
    except UserError as error:
        raise UserError(f"{error.problem}{_hint(files)}", error.remedy) from error
    splits = {which: {class_name: classes[class_name] for class_name in lists[which]} for which in SPLITS}
    unlisted = [len(of_class) for c, of_class in classes.items() if not any(c in lists[which] for which in SPLITS)]
    count = f"{counted(len(unlisted), 'class')} of {counted(sum(unlisted), 'picture')}"
    clause = f"{count} not in {Path(split_file[0]).name}"
    return splits, (clause,) if unlisted else ()
