"""Faults as a process sees them: each function bends the process that calls it, before its command begins or later."""

import contextlib
import ctypes
import datetime
import fcntl
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

BALLAST = "ballast"


def at_renaming(which: int | str, happens: Callable[[], None], afterwards: bool = False) -> None:
    """Let something happen at a renaming of a file, before it is done or right after.

    Renaming is how every file of a run takes its place, so that between two renamings nothing changes for who looks.

    Args:
        which: the how many-th, or to which name.
        happens: is called then.
        afterwards: after it.
    """
    replace, calls = os.replace, 0

    def replace_in_a_bent_world(source: Path, target: Path, **more: object) -> None:
        nonlocal calls
        calls += 1
        this = which in (calls, Path(target).name)
        if this and not afterwards:
            happens()
        replace(source, target, **more)
        if this and afterwards:
            happens()

    os.replace = replace_in_a_bent_world


def die() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def write_no_more() -> None:
    """No file may grow any more, as on a full disk, whatever is on it; Python ignores the signal that comes with it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fill_disk(folder: Path) -> None:
    """Fill the disk that a folder lies on, to the last byte."""
    with (folder / BALLAST).open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def lose_rights(*folders: Path) -> None:
    """Make folders unwritable, to whoever this process belongs to: root, too, is bound by modes from here on."""
    for folder in folders:
        folder.chmod(0o555)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, at once: a thread that writes into it meanwhile must not make it last."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def replace_by_a_file(folder: Path) -> None:
    """Put a file where a folder was."""
    file = folder.with_name(f"{folder.name}.file")
    file.write_text("no folder")
    while not folder.is_file():
        if folder.exists():
            remove(folder)
        with contextlib.suppress(IsADirectoryError):  # a thread has made the folder again
            file.rename(folder)


def print_to(path: str) -> None:
    """Print into a file, such as one that takes nothing."""
    os.dup2(os.open(path, os.O_WRONLY), 1)


def have_no_locks(number: int) -> None:
    """Be on a file system that is mounted without locks, which it says by this error number."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = flock


def let_the_clock_jump_back(seconds: float) -> None:
    """Let every look at the clock see it set back by as much again; what only counts seconds is spared."""
    now, looks = time.time, 0

    def earlier() -> float:
        nonlocal looks
        looks += 1
        return now() - looks * seconds

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(earlier(), tz)

    time.time = earlier
    _put_everywhere("datetime", datetime.datetime, Datetime)


def stop_the_clock(at: str) -> None:
    """Let it be always the same second."""
    when = datetime.datetime.fromisoformat(at)

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return when.astimezone(tz)

    time.time = when.timestamp
    _put_everywhere("datetime", datetime.datetime, Datetime)


def _put_everywhere(name: str, old: object, new: object) -> None:
    """Replace what modules of metarun and Hydra have imported under a name."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(("metarun", "hydra")) and getattr(module, name, None) is old:
            setattr(module, name, new)
