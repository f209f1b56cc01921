"""Describe pictures and files that are in no class, and folders that look like an oversight."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from metarun.data.examples import SPLITS, Skipped, Split
from metarun.data.pictures.image_tables import Classes
from metarun.data.pictures.picture_files import PictureFiles, count_by_suffix
from metarun.errors import counted, printable
from metarun.system.hash_cache import read_cache, write_cache

_MAX_NAMED = 5  # folders in a clause


def beside_splits(top: str, pictures: Sequence[str]) -> tuple[str, ...]:
    """Name the folders of pictures beside those of the splits."""
    beside = Counter(picture[len(top) :].partition("/")[0] for picture in pictures)
    other = {folder: count for folder, count in beside.items() if folder not in SPLITS}
    count = sum(other.values())
    verb = "is" if count == 1 else "are"
    clause = f"{counted(count, 'picture')} outside train, val and test {verb} in no split ({_few(list(other))})"
    return (clause,) if other else ()


def unusual_depths(splits: Mapping[Split, Classes]) -> tuple[str, ...]:
    """Name a few classes that are nested deeper, or less deep, than the rest."""
    depths: dict[int, list[str]] = defaultdict(list)
    for of_split in splits.values():
        for class_name in of_split:
            depths[class_name.count("/")].append(class_name)
    if len(depths) < 2:
        return ()
    usual = max(depths, key=lambda depth: len(depths[depth]))
    odd = [class_name for depth in sorted(depths) if depth != usual for class_name in depths[depth]]
    verb = "is" if len(odd) == 1 else "are"
    others = len(depths[usual])
    return (f"{counted(len(odd), 'class')} {verb} nested at a different depth from the other {others:,} ({_few(odd)})",)


def not_pictures(files: Sequence[str]) -> tuple[str, ...]:
    """Count the files that are not pictures by suffix."""
    return (f"skipped unsupported files: {count_by_suffix(files)}",) if files else ()


def empty_classes(parents: Sequence[str], files: PictureFiles, empty: Iterable[str]) -> tuple[str, ...]:
    """Name the folders in `parents` that would be classes if they contained a picture."""
    with_pictures = {picture.rpartition("/")[0] for picture in files.pictures}
    above = {folder for path in with_pictures for folder in with_parents(f"{path}/")}
    candidates = {*(other.rpartition("/")[0] for other in files.others), *empty}
    found = sorted(
        folder
        for folder in candidates
        if any(f"{folder}/".startswith(parent) and len(folder) >= len(parent) and folder for parent in parents)
        and not any(part.startswith(".") or part == "__MACOSX" for part in folder.split("/"))
        and f"{folder}/" not in above
        and not any(a[:-1] in with_pictures for a in with_parents(f"{folder}/"))
    )
    rest = "contains no pictures and is not a class" if len(found) == 1 else "contain no pictures and are not classes"
    return (f"{counted(len(found), 'folder')} {rest} ({_few(found)})",) if found else ()


def _few(names: Sequence[str]) -> str:
    return ", ".join([*map(printable, names[:_MAX_NAMED]), *(["…"] if len(names) > _MAX_NAMED else [])])


def with_parents(folder: str) -> list[str]:
    """Return a folder and its parents, up to ""; each with a trailing slash, like the argument."""
    ends = [i + 1 for i, character in enumerate(folder) if character == "/"]
    return [folder[:end] for end in [*reversed(ends), 0]]


def remember_skipped(path: Path, key: str, find: Callable[[], Skipped | None]) -> Skipped:
    """Return what was skipped when the cached pictures were read, or what `find` returns now.

    Args:
        path: of the file that stores it.
        key: of the cache.
        find: reads the layout again; None if the pictures are missing or incomplete.
    """
    before = read_cache(path)
    clauses = [before.get("by_choice"), before.get("unasked")]
    if before.get("key") == key and all(isinstance(each, list) for each in clauses):
        return Skipped(*(tuple(map(str, each)) for each in clauses if isinstance(each, list)))
    if (found := find()) is None:
        return Skipped()
    write_cache(path, {"key": key, "by_choice": found.unlisted, "unasked": found.warnings})
    return found
