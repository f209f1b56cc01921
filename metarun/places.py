"""Where a path of the user's leads, asked so that the strangest one is only not there."""

import os
import stat
from pathlib import Path

from metarun.errors import UserError

# Do not wait for who writes into a pipe; do not change what is read. The latter is a question of Windows alone.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def path_of(text: str) -> Path:
    """Return the path that a text names; `~` is the user's home, `~name` another's if there is one."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody is called so
        return Path(text)


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
            raise UserError(f"{path} is {first} once more, by a link; take the link away.")
        found += [(below / name).as_posix() for name in names]
    return found


def state_of(file: Path) -> tuple[int, int]:
    """Return size and time, one of which changes when a file does; -1 where there is none, as of a link to nothing."""
    try:
        state = file.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns
