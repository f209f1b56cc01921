"""Reading the files of a folder or of a zip alike; a zip is read in memory, never extracted."""

import hashlib
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metarun.errors import UserError

Read = Callable[[str], bytes]

_UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, struct.error)


@contextmanager
def opened(place: Path, largest: int) -> Iterator[tuple[list[str], Read]]:
    """Yield the names of all files, as paths below `place`, and a function that reads one.

    Args:
        place: a folder or a zip.
        largest: bytes; what claims to be larger in a zip is not unpacked.

    Raises:
        UserError: the zip is damaged, a path in it leads out of its folder, or a file cannot be read.
    """
    if place.is_dir():
        yield _names_below(place), lambda name: _read_file(place / name)
        return
    try:
        with zipfile.ZipFile(place) as archive:
            _check_stays_inside(place, archive.namelist())
            yield archive.namelist(), lambda name: _read_member(archive, name, largest)
    except _UNREADABLE_ZIP as error:
        raise UserError(f"{place} is no whole zip archive ({error}); fetch it again or delete it.") from error


def fingerprint(place: Path) -> str:
    """Return a hash that changes when a file of the folder, or the zip, is added, taken away or written anew."""
    paths = [place / name for name in sorted(_names_below(place))] if place.is_dir() else [place]
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        digest.update(f"{path.relative_to(place).as_posix()}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _names_below(folder: Path) -> list[str]:
    found = [Path(here, name) for here, _, names in os.walk(folder, followlinks=True) for name in names]
    return [path.relative_to(folder).as_posix() for path in found]


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _read_member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    if archive.getinfo(name).file_size > largest:
        raise zipfile.BadZipFile(f"{name} claims {archive.getinfo(name).file_size:,} bytes")
    return archive.read(name)


def _check_stays_inside(place: Path, names: list[str]) -> None:
    for name in names:
        steps = name.replace("\\", "/").split("/")
        if steps[0] == "" or ".." in steps or re.match(r"[A-Za-z]:", name):
            raise UserError(
                f"{place} holds '{name}', a path that leads out of its folder; fetch it from a place you trust."
            )
