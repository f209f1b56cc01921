"""Read the files of a folder or a zip in the same way; a zip is read in memory, never extracted."""

import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from metarun.errors import UserError
from metarun.system.paths import files_below, is_file, is_folder

_CHUNK = 4096  # bytes of a zip member at once: zipfile unpacks a whole read before it cuts off what was not claimed


class ReadFile(Protocol):
    """Read a file of a folder or zip."""

    def __call__(self, name: str, first: int | None = None, /) -> bytes:
        """Return its content, or only the first `first` bytes."""


@contextmanager
def open_files(root: Path, max_bytes: int) -> Iterator[tuple[list[str], ReadFile]]:
    """Yield the names of all files, relative to `root`, and a function that reads one.

    Args:
        root: a folder or a zip.
        max_bytes: a file that is larger, or that a zip claims to be larger, is not read.

    Raises:
        UserError: the zip is damaged, a path in it leads outside, or a file cannot be read.
    """
    if is_folder(root):
        yield files_below(root), lambda name, first=None, /: _read_file(root / name, max_bytes, first)
        return
    with _open_zip(root) as archive:
        members = _members(root, archive)
        yield list(members), lambda name, first=None, /: _read_member(root, archive, members[name], max_bytes, first)


def empty_folders(root: Path) -> list[str]:
    """Return the empty folders of a folder or zip, relative to `root`."""
    if is_folder(root):
        walk = os.walk(root, followlinks=True)
        return [Path(here).relative_to(root).as_posix() for here, folders, names in walk if not (folders or names)]
    with _open_zip(root) as archive:
        names = [name for name, _ in _entries(archive)]
    not_empty: set[PurePosixPath] = set()
    for name in names:
        for folder in PurePosixPath(name).parents:
            if folder in not_empty:  # so are the folders above it
                break
            not_empty.add(folder)
    folders = [PurePosixPath(name) for name in names if name.endswith("/")]
    return [folder.as_posix() for folder in folders if folder not in not_empty]


def _read_file(path: Path, max_bytes: int, first: int | None) -> bytes:
    if not is_file(path):
        raise UserError(f"{path} is a broken link, a pipe or a device, not a file", "remove it.")
    try:
        if first is not None:
            with path.open("rb", buffering=0) as file:
                return file.read(first)
        size = path.stat().st_size
        if size > max_bytes:
            raise UserError(f"{path} has {size:,} bytes but at most {max_bytes:,} are expected", "remove it.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def _open_zip(root: Path) -> zipfile.ZipFile:
    if not is_file(root):
        raise UserError(f"{root} is neither a folder nor a file", "use a folder or a zip file.")
    try:
        return zipfile.ZipFile(root)
    except Exception as error:  # zipfile raises a dozen exception types on untrusted bytes
        raise _damaged(root, error) from error


def _members(root: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a zip by their normalised paths, without `./` and the like."""
    members: dict[str, zipfile.ZipInfo] = {}
    for written, entry in _entries(archive):
        check_stays_inside(root, written)
        name = PurePosixPath(written).as_posix()
        if written.endswith("/"):  # a folder
            continue
        if name in members:
            raise UserError(f"{root} contains '{name}' twice", "download it again, or repack it.")
        members[name] = entry
    return members


def _entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield all entries by name; some Windows programs write backslashes, which become slashes."""
    entries = archive.infolist()
    only_backslashes = not any("/" in entry.filename for entry in entries)
    for entry in entries:
        yield entry.filename.replace("\\", "/") if only_backslashes else entry.filename, entry


def _read_member(
    root: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int, first: int | None
) -> bytes:
    if first is None and entry.file_size > max_bytes:
        raise _damaged(root, f"{entry.filename} claims {entry.file_size:,} bytes")
    try:
        with archive.open(entry) as member:
            if first is not None:
                return member.read(first)
            return b"".join(iter(lambda: member.read(_CHUNK), b""))
    except Exception as error:  # as above, and from four decompressors
        raise _damaged(root, error) from error


def _damaged(root: Path, reason: object) -> UserError:
    return UserError(f"{root} is not a valid zip archive ({reason})", "download it again or delete it.")


def check_stays_inside(root: Path, name: str) -> None:
    """Raise a UserError if the name of a file in an archive leads out of it."""
    steps = name.replace("\\", "/").split("/")
    if steps[0] == "" or ".." in steps or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{root} contains '{name}', a path outside the archive", "download it from a source you trust.")
