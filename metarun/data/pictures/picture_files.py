"""Find the pictures among files by their suffixes or, for other suffixes, by their first bytes."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from metarun.data.files.archive import ReadFile
from metarun.errors import UserError

# Whatever the format of their content. A file with another suffix, or none, is a picture if it begins like one.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".apng", ".dib"),
)
SHOWN_SUFFIXES = ", ".join(SUFFIXES[:10])
_HEADERS = (
    rb"\x89PNG\r\n\x1a\n",
    rb"\xff\xd8\xff",  # JPEG
    rb"GIF8[79]a",
    rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # a BMP's header has one of seven lengths
    rb"RIFF.{4}WEBP",
    rb"II\*\0|MM\0\*",  # TIFF
    rb"P[1-6]\s+(\d|#)",  # PPM
)
_PICTURE = re.compile(b"|".join(_HEADERS), re.DOTALL)
_HEADER_SIZE = 64  # bytes
# Raw photographs begin like TIFF, but Pillow would decode their small preview, if anything.
_RAW = (".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".nef", ".nrw", ".pef", ".srw")
# Files of operating systems, and texts about the data set.
_SYSTEM_FILES = re.compile(
    r"thumbs\.db|ehthumbs.*\.db|desktop\.ini|icon\r|(read[ _-]?me|licen[sc]es?|copying|notice|changelog)([._ -].*)?",
    re.IGNORECASE,
)
_MAX_LISTED = 8


@dataclass(frozen=True)
class PictureFiles:
    """The files of a folder or zip, without hidden files and those in `_SYSTEM_FILES`.

    Args:
        pictures: sorted by name.
        others: the rest, sorted by name.
    """

    pictures: Sequence[str]
    others: Sequence[str]


def find_pictures(names: Iterable[str], read: ReadFile) -> PictureFiles:
    """Find the pictures; the first bytes of a file are read if its suffix is not in `SUFFIXES`."""
    shown = [name for name in sorted(names) if not is_ignored(name, SUFFIXES)]
    by_suffix = {name: _suffix(name) for name in shown}
    pictures = [name for name in shown if by_suffix[name] in SUFFIXES or _is_picture(name, by_suffix[name], read)]
    among = set(pictures)
    return PictureFiles(pictures, [name for name in shown if name not in among])


def count_by_suffix(files: Iterable[str]) -> str:
    """Count files by suffix, the most frequent first: "12 .heic, 3 .txt"."""
    counts = Counter(_suffix(file) or "without a suffix" for file in files)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = [f"{count:,} {suffix}" for suffix, count in ranked[:_MAX_LISTED]]
    rest = sum(count for _, count in ranked[_MAX_LISTED:])
    return ", ".join([*listed, *([f"{rest:,} others"] if rest else [])])


def is_ignored(name: str, suffixes: Sequence[str]) -> bool:
    """Whether a file is hidden, a system's or a text about the data set; `suffixes` are those of examples."""
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return hidden or (_SYSTEM_FILES.fullmatch(parts[-1]) is not None and _suffix(name) not in suffixes)


def _suffix(name: str) -> str:
    """Return the suffix in lower case; "" if it is not one, such as the end of a sentence."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if re.fullmatch(r"\.\w{1,10}", suffix) else ""


def _is_picture(name: str, suffix: str, read: ReadFile) -> bool:
    if suffix in _RAW:
        return False
    try:
        return _PICTURE.match(read(name, _HEADER_SIZE)) is not None
    except UserError:  # a pipe or a broken link
        return False
