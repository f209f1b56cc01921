"""Where a path of the user's leads, asked so that the strangest one is only not there."""

import os
from pathlib import Path

from metarun.errors import UserError


def path_of(text: str) -> Path:
    """Return the path that a text names; `~` is the user's home, `~name` another's if there is one."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody is called so
        return Path(text)


def is_file(path: Path) -> bool:
    """Whether there is a file; a path that is too long, or has a NUL in it, is no file's."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; see `is_file`."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


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
