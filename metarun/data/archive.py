"""Reading the files of a folder or of a zip alike; a zip is read in memory, never extracted."""

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from metarun.errors import UserError
from metarun.places import files_below, is_file, is_folder

Read = Callable[[str], bytes]
_PIECE = 4096  # bytes of a zip at once: zipfile holds all that they unpack to, before it cuts off what was not claimed


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
        yield files_below(place), lambda name: _read_file(place / name, largest)
        return
    with _open_zip(place) as archive:
        members = _members(place, archive)
        yield list(members), lambda name: _read_member(place, archive, members[name], largest)


def _read_file(path: Path, largest: int) -> bytes:
    if not is_file(path):
        raise UserError(f"{path} is no file but a link to nothing, a pipe or a device; take it away.")
    try:
        size = path.stat().st_size
        if size > largest:
            raise UserError(f"{path} has {size:,} bytes, more than any that is expected here; take it away.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _open_zip(place: Path) -> zipfile.ZipFile:
    if not is_file(place):
        raise UserError(f"{place} is neither a folder nor a file; name one of them.")
    try:
        return zipfile.ZipFile(place)
    except Exception as error:  # zipfile raises a dozen kinds on foreign bytes
        raise _damaged(place, error) from error


def _members(place: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a zip by their paths, written without detours such as `./`."""
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        _check_stays_inside(place, entry.filename)
        name = PurePosixPath(entry.filename).as_posix()
        if entry.is_dir():
            continue
        if name in members:
            raise UserError(f"{place} holds '{name}' twice; fetch it again, or pack it anew.")
        members[name] = entry
    return members


def _read_member(place: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int) -> bytes:
    if entry.file_size > largest:
        raise _damaged(place, f"{entry.filename} claims {entry.file_size:,} bytes")
    try:
        with archive.open(entry) as member:
            return b"".join(iter(lambda: member.read(_PIECE), b""))
    except Exception as error:  # and so do the four kinds of compression
        raise _damaged(place, error) from error


def _damaged(place: Path, reason: object) -> UserError:
    return UserError(f"{place} is no whole zip archive ({reason}); fetch it again or delete it.")


def _check_stays_inside(place: Path, name: str) -> None:
    steps = name.replace("\\", "/").split("/")
    if steps[0] == "" or ".." in steps or re.match(r"[A-Za-z]:", name):
        raise UserError(
            f"{place} holds '{name}', a path that leads out of its folder; fetch it from a place you trust."
        )
