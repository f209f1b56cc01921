"""What to say of what lies among pictures and is in no class, or looks like an oversight."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from metarun.data.examples import SPLITS, LeftOut, Split
from metarun.data.image_tables import Classes
from metarun.data.picture_files import PictureFiles, count_by_suffix
from metarun.errors import counted, printable
from metarun.system.hash_cache import read_cache, write_cache

_NAMED = 5  # folders in a clause


def outside(top: str, pictures: Sequence[str]) -> tuple[str, ...]:
    """Name the folders of pictures beside those of the splits."""
    beside = Counter(picture[len(top) :].partition("/")[0] for picture in pictures)
    other = {folder: count for folder, count in beside.items() if folder not in SPLITS}
    count = sum(other.values())
    verb = "is" if count == 1 else "are"
    clause = f"{counted(count, 'picture')} beside train, val and test {verb} in no split ({_few(list(other))})"
    return (clause,) if other else ()


def at_other_depths(splits: Mapping[Split, Classes]) -> tuple[str, ...]:
    """Tell of a few classes that lie deeper, or less deep, than the rest."""
    depths: dict[int, list[str]] = defaultdict(list)
    for of_split in splits.values():
        for class_name in of_split:
            depths[class_name.count("/")].append(class_name)
    if len(depths) < 2:
        return ()
    usual = max(depths, key=lambda depth: len(depths[depth]))
    odd = [class_name for depth in sorted(depths) if depth != usual for class_name in depths[depth]]
    verb = "lies" if len(odd) == 1 else "lie"
    return (
        f"{len(odd):,} of the classes {verb} deeper than the other {len(depths[usual]):,}, or less deep ({_few(odd)})",
    )


def skipped(files: Sequence[str]) -> tuple[str, ...]:
    """Count the files that are no pictures."""
    return (f"skipped, as no pictures that are read here: {count_by_suffix(files)}",) if files else ()


def without_pictures(roots: Sequence[str], files: PictureFiles, empty: Iterable[str]) -> tuple[str, ...]:
    """Name the folders that would be classes if there were a picture in them."""
    holding = {picture.rpartition("/")[0] for picture in files.pictures}
    above = {folder for picture in holding for folder in at_or_above(f"{picture}/")}
    candidates = {*(other.rpartition("/")[0] for other in files.others), *empty}
    found = sorted(
        folder
        for folder in candidates
        if any(f"{folder}/".startswith(root) and len(folder) >= len(root) and folder for root in roots)
        and not any(part.startswith(".") or part == "__MACOSX" for part in folder.split("/"))
        and f"{folder}/" not in above
        and not any(a[:-1] in holding for a in at_or_above(f"{folder}/"))
    )
    rest = "has no picture in it and is no class" if len(found) == 1 else "have no picture in them and are no classes"
    return (f"{counted(len(found), 'folder')} {rest} ({_few(found)})",) if found else ()


def _few(names: Sequence[str]) -> str:
    return ", ".join([*map(printable, names[:_NAMED]), *(["…"] if len(names) > _NAMED else [])])


def at_or_above(folder: str) -> list[str]:
    """Return a folder and all that hold it, the last is ""; each with its slash, as the argument has."""
    ends = [i + 1 for i, character in enumerate(folder) if character == "/"]
    return [folder[:end] for end in [*reversed(ends), 0]]


def remember_left_out(path: Path, key: str, find: Callable[[], LeftOut | None]) -> LeftOut:
    """Return what was left out when the pictures that are cached were arranged, or what `find` returns now.

    Args:
        path: where it is kept.
        key: of the cache.
        find: arranges the pictures; None: they are not here, or no longer whole.
    """
    before = read_cache(path)
    clauses = [before.get("by_choice"), before.get("unasked")]
    if before.get("key") == key and all(isinstance(each, list) for each in clauses):
        return LeftOut(*(tuple(map(str, each)) for each in clauses if isinstance(each, list)))
    if (found := find()) is None:
        return LeftOut()
    write_cache(path, {"key": key, **asdict(found)})
    return found
