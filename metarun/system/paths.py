"""Where a path of the user's leads, asked so that the strangest one is only not there."""

import os
import stat
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path

from metarun.errors import UserError

IS_PATH = "names a file or a folder"
# A text that names a file or folder: `~`, relative parts and links in it are resolved, and the content that lies there,
# not the spelling, stands in a run's identity. An argument annotated as `pathlib.Path` is treated alike.
PathText = Annotated[str, IS_PATH]

# Do not wait for who writes into a pipe; do not change what is read. The latter is a question of Windows alone.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def path_of(text: str, start: Path | None = None) -> Path:
    """Return the absolute path that a text names, through all links; the one function that resolves a user's path.

    Args:
        text: `~` is the user's home, `~name` another's if there is one.
        start: where a relative path starts; None: in the current folder.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # nobody is called so
        path = Path(text)
    try:
        return Path(os.path.realpath(path if start is None else start / path))
    except (OSError, ValueError):  # a NUL in it, or too long: there is no such file
        return path


def data_root() -> Path:
    """The folder that data are looked for and cached under: `METARUN_DATA`, or the user's cache folder."""
    asked = os.environ.get("METARUN_DATA")
    return path_of(asked) if asked else user_cache_path("metarun")


def exists(path: Path) -> bool:
    """Whether there is anything; see `is_file`."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Whether there is a file; a path that is too long, or has a NUL in it, is no file's."""
    return os.path.isfile(path)  # noqa: PTH113, Path.is_file raises for such


def is_folder(path: Path) -> bool:
    """Whether there is a folder; see `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def read_file(path: Path, most: int) -> bytes | None:
    """Return what a file holds, None where there is none; a pipe, which might never end, is no file.

    It takes half the system calls of `Path.read_bytes` behind `is_file`: of thousands of runs that is a second.

    Raises:
        ValueError: it holds more than so many bytes.
        OSError: it cannot be read.
    """
    try:
        opened = os.open(path, os.O_RDONLY | _AT_ONCE)
    except (OSError, ValueError):
        if not is_file(path):
            return None
        raise
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            return None
        if state.st_size > most:
            raise ValueError("it is too large")
        content = os.read(opened, state.st_size)
        while len(content) < state.st_size and (more := os.read(opened, state.st_size - len(content))):
            content += more  # a system reads at most so much at once
    finally:
        os.close(opened)
    return content


def files_below(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, as seen from there, in no order; links are followed.

    Raises:
        UserError: a link leads to a folder that is among them already, so that there might be no end.
    """
    found: list[str] = []
    seen: dict[Path, Path] = {}
    for here, folders, names in os.walk(folder, followlinks=True):
        path, below = Path(here), Path(here).relative_to(folder)
        first = seen.setdefault(path.resolve(), path)
        if first != path:
            folders.clear()
            if any(part.startswith(".") for part in below.parts):  # nobody looks there
                continue
            raise UserError(f"{path} is {first} once more, by a link", "take the link away.")
        start = "" if path == folder else f"{below.as_posix()}/"
        found += [f"{start}{name}" for name in names]
    return found


State = tuple[int, int, int, int]


def state_of(file: Path | str) -> State:
    """Return what changes when a file does: size, time of change of its content and of itself, number of its inode.

    Size and time of the content alone stay what they were when an archive with fixed dates is unpacked again, a file is
    replaced by `cp -p`, or pixels change in place and the time is set back; nobody can set the other time. A link to
    nothing has -1 for each.
    """
    try:
        state = os.stat(file)  # noqa: PTH116, of 100,000 files Path.stat takes seconds
    except (OSError, ValueError):
        return -1, -1, -1, -1
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino
