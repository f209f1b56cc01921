"""Which files are pictures: told from their suffixes and, where these say nothing, from their first bytes."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from metarun.data.archive import Read
from metarun.errors import UserError

# As whatever format their content is of. Files with another suffix, or none, are pictures if they begin like one.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".apng", ".dib"),
)
SHOWN = ", ".join(SUFFIXES[:10])
_BEGINNINGS = (
    rb"\x89PNG\r\n\x1a\n",
    rb"\xff\xd8\xff",  # JPEG
    rb"GIF8[79]a",
    rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # a BMP's header has one of seven lengths
    rb"RIFF.{4}WEBP",
    rb"II\*\0|MM\0\*",  # TIFF
    rb"P[1-6]\s+(\d|#)",  # PPM
)
_PICTURE = re.compile(b"|".join(_BEGINNINGS), re.DOTALL)
_LONGEST_BEGINNING = 64  # bytes
# They begin like TIFF, and Pillow would show the small preview in them, if anything.
_RAW = (".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".nef", ".nrw", ".pef", ".srw")
# What lies beside pictures everywhere: droppings of systems, and texts about the data set.
_DROPPINGS = re.compile(
    r"thumbs\.db|ehthumbs.*\.db|desktop\.ini|icon\r|(read[ _-]?me|licen[sc]es?|copying|notice|changelog)([._ -].*)?",
    re.IGNORECASE,
)
_SHOWN_SUFFIXES = 8


@dataclass(frozen=True)
class PictureFiles:
    """The files of a folder or zip, without what is hidden or lies beside pictures everywhere.

    Args:
        pictures: in the order of their names.
        others: the rest, likewise.
    """

    pictures: Sequence[str]
    others: Sequence[str]


def find_pictures(names: Iterable[str], read: Read) -> PictureFiles:
    """Tell the pictures among files; of one whose suffix is none of `SUFFIXES` the first bytes are read."""
    shown = [name for name in sorted(names) if not _is_passed_over(name)]
    by_suffix = {name: _suffix(name) for name in shown}
    pictures = [name for name in shown if by_suffix[name] in SUFFIXES or _begins_like_one(name, by_suffix[name], read)]
    among = set(pictures)
    return PictureFiles(pictures, [name for name in shown if name not in among])


def count_by_suffix(files: Iterable[str]) -> str:
    """Return how many files have which suffix, the most frequent first: "12 .heic, 3 .txt"."""
    counts = Counter(_suffix(file) or "without a suffix" for file in files)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{count:,} {suffix}" for suffix, count in ranked[:_SHOWN_SUFFIXES]]
    rest = sum(count for _, count in ranked[_SHOWN_SUFFIXES:])
    return ", ".join([*told, *([f"{rest:,} with others"] if rest else [])])


def _is_passed_over(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return hidden or (_DROPPINGS.fullmatch(parts[-1]) is not None and _suffix(name) not in SUFFIXES)


def _suffix(name: str) -> str:
    """Return the suffix in lower case; "" for what is none, such as the end of a sentence."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if re.fullmatch(r"\.\w{1,10}", suffix) else ""


def _begins_like_one(name: str, suffix: str, read: Read) -> bool:
    if suffix in _RAW:
        return False
    try:
        return _PICTURE.match(read(name, _LONGEST_BEGINNING)) is not None
    except UserError:  # a pipe, or a link to nothing, by a name that no picture has
        return False
