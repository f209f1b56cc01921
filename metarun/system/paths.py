"""Resolve and read user-supplied paths; an invalid path is treated as missing."""

import importlib.util
import os
import stat
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path

from metarun.errors import UserError

IS_PATH = "names a file or a folder"
# A text that names a file or folder. `~`, relative parts and links are resolved, and the content, not the spelling, is
# part of the run id. Arguments annotated as `pathlib.Path` are treated the same way.
PathText = Annotated[str, IS_PATH]

# "wheel:PACKAGE/FILE" is a file of an installed package, wherever that is: the same text on every machine.
WHEEL = "wheel:"

# Do not block on a pipe; do not translate line ends (Windows only).
_OPEN_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def resolve_path(text: str | Path, start: Path | None = None) -> Path:
    """Return the absolute path that a text names, with links resolved. All user paths are resolved here.

    Args:
        text: `~` is the user's home, `~name` that of another user; "wheel:PACKAGE/FILE" is in an installed package.
        start: where a relative path starts; None is the current folder.
    """
    if str(text).startswith(WHEEL):
        return _in_package(str(text).removeprefix(WHEEL)) or Path(text)
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # there is no such user
        path = Path(text)
    try:
        return Path(os.path.realpath(path if start is None else start / path))
    except (OSError, ValueError):  # too long, or contains a NUL: there is no such file
        return path


def _in_package(name: str) -> Path | None:
    """Return the path of a file in a package, which is not imported; None if the package is not installed."""
    package, _, file = name.partition("/")
    try:
        found = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        return None
    if found is None or not found.submodule_search_locations:
        return None
    return Path(os.path.realpath(found.submodule_search_locations[0]), file)


def data_root() -> Path:
    """The folder of data sets and caches: `METARUN_DATA`, or the user's cache folder."""
    folder = os.environ.get("METARUN_DATA")
    return resolve_path(folder) if folder else user_cache_path("metarun")


def exists(path: Path) -> bool:
    """Whether the path exists; see `is_file`."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path | str) -> bool:
    """Whether the path is a file; False if it is too long or contains a NUL."""
    return os.path.isfile(path)  # noqa: PTH113, Path.is_file raises for these


def is_folder(path: Path) -> bool:
    """Whether the path is a folder; see `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def read_file(path: Path | str, max_bytes: int) -> bytes | None:
    """Return the content of a regular file; None if there is none or it is a pipe, which might never end.

    It makes half the system calls of `is_file` and `Path.read_bytes`, which saves a second for thousands of runs.

    Raises:
        ValueError: the file is larger than `max_bytes`.
        OSError: the file cannot be read.
    """
    try:
        opened = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    except (OSError, ValueError):
        if not is_file(path):
            return None
        raise
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            return None
        if state.st_size > max_bytes:
            raise ValueError("it is too large")
        content = os.read(opened, state.st_size)
        while len(content) < state.st_size and (more := os.read(opened, state.st_size - len(content))):
            content += more  # one call may return less than the whole file
    finally:
        os.close(opened)
    return content


def files_below(folder: Path) -> list[str]:
    """Return the relative paths of all files below a folder, unsorted; links are followed.

    Raises:
        UserError: a link leads back to a folder that was already visited.
    """
    found: list[str] = []
    seen: dict[Path, Path] = {}
    for here, folders, names in os.walk(folder, followlinks=True):
        path, below = Path(here), Path(here).relative_to(folder)
        first = seen.setdefault(path.resolve(), path)
        if first != path:
            folders.clear()
            if any(part.startswith(".") for part in below.parts):  # hidden folders are not searched
                continue
            raise UserError(f"{path} is a link to {first}, which is in the same folder", "remove the link.")
        start = "" if path == folder else f"{below.as_posix()}/"
        found += [f"{start}{name}" for name in names]
    return found


State = tuple[int, int, int, int]


def state_of(file: Path | str) -> State:
    """Return what changes when a file changes: size, mtime, ctime and inode.

    Size and mtime alone do not change when an archive with fixed dates is unpacked again, when a file is replaced by
    `cp -p`, or when pixels are edited and the mtime is set back; ctime cannot be set. All are -1 for a dangling link.
    """
    try:
        state = os.stat(file)  # noqa: PTH116, Path.stat takes seconds for 100,000 files
    except (OSError, ValueError):
        return -1, -1, -1, -1
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino
