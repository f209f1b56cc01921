"""Reading the files of a folder or of a zip alike; a zip is read in memory, never extracted."""

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from metarun.errors import UserError
from metarun.system.paths import files_below, is_file, is_folder

_PIECE = 4096  # bytes of a zip at once: zipfile holds all that they unpack to, before it cuts off what was not claimed


class Read(Protocol):
    """Reads a file of a folder or zip."""

    def __call__(self, name: str, first: int | None = None, /) -> bytes:
        """Return its content, or no more than the first so many bytes."""


@contextmanager
def opened(place: Path, largest: int) -> Iterator[tuple[list[str], Read]]:
    """Yield the names of all files, as paths below `place`, and a function that reads one.

    Args:
        place: a folder or a zip.
        largest: bytes; what is larger, or claims so in a zip, is not read.

    Raises:
        UserError: the zip is damaged, a path in it leads out of its folder, or a file cannot be read.
    """
    if is_folder(place):
        yield files_below(place), lambda name, first=None, /: _read_file(place / name, largest, first)
        return
    with _open_zip(place) as archive:
        members = _members(place, archive)
        yield list(members), lambda name, first=None, /: _read_member(place, archive, members[name], largest, first)


def empty_folders(place: Path) -> list[str]:
    """Return the folders of a folder or zip in which there is nothing, as paths below `place`.

    Raises:
        UserError: as `opened`.
    """
    if is_folder(place):
        walk = os.walk(place, followlinks=True)
        return [Path(here).relative_to(place).as_posix() for here, folders, names in walk if not (folders or names)]
    with _open_zip(place) as archive:
        names = [name for name, _ in _entries(archive)]
    holding: set[PurePosixPath] = set()
    for name in names:
        for folder in PurePosixPath(name).parents:
            if folder in holding:  # so are the folders above it
                break
            holding.add(folder)
    folders = [PurePosixPath(name) for name in names if name.endswith("/")]
    return [folder.as_posix() for folder in folders if folder not in holding]


def _read_file(path: Path, largest: int, first: int | None) -> bytes:
    if not is_file(path):
        raise UserError(f"{path} is no file but a link to nothing, a pipe or a device", "take it away.")
    try:
        if first is not None:
            with path.open("rb", buffering=0) as file:
                return file.read(first)
        size = path.stat().st_size
        if size > largest:
            raise UserError(f"{path} has {size:,} bytes, more than any that is expected here", "take it away.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _open_zip(place: Path) -> zipfile.ZipFile:
    if not is_file(place):
        raise UserError(f"{place} is neither a folder nor a file", "name one of them.")
    try:
        return zipfile.ZipFile(place)
    except Exception as error:  # zipfile raises a dozen kinds on foreign bytes
        raise _damaged(place, error) from error


def _members(place: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a zip by their paths, written without detours such as `./`."""
    members: dict[str, zipfile.ZipInfo] = {}
    for written, entry in _entries(archive):
        _check_stays_inside(place, written)
        name = PurePosixPath(written).as_posix()
        if written.endswith("/"):  # a folder
            continue
        if name in members:
            raise UserError(f"{place} holds '{name}' twice", "fetch it again, or pack it anew.")
        members[name] = entry
    return members


def _entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield all entries by their names; of a zip that some Windows program packed, with slashes for backslashes."""
    entries = archive.infolist()
    only_backslashes = not any("/" in entry.filename for entry in entries)
    for entry in entries:
        yield entry.filename.replace("\\", "/") if only_backslashes else entry.filename, entry


def _read_member(
    place: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int, first: int | None
) -> bytes:
    if first is None and entry.file_size > largest:
        raise _damaged(place, f"{entry.filename} claims {entry.file_size:,} bytes")
    try:
        with archive.open(entry) as member:
            if first is not None:
                return member.read(first)
            return b"".join(iter(lambda: member.read(_PIECE), b""))
    except Exception as error:  # and so do the four kinds of compression
        raise _damaged(place, error) from error


def _damaged(place: Path, reason: object) -> UserError:
    return UserError(f"{place} is no whole zip archive ({reason})", "fetch it again or delete it.")


def _check_stays_inside(place: Path, name: str) -> None:
    steps = name.replace("\\", "/").split("/")
    if steps[0] == "" or ".." in steps or re.match(r"[A-Za-z]:", name):
        raise UserError(
            f"{place} holds '{name}', a path that leads out of its folder", "fetch it from a place you trust."
        )
