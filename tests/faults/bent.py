"""Inject faults: each function changes the process that calls it, before its command starts or later."""

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
    """Call a function at a renaming of a file, before or right after it.

    Every file of a run is put in place by renaming, so nothing visible changes between two renamings.

    Args:
        which: the number of the renaming, or the target's name.
        happens: called then.
        afterwards: whether to call it after the renaming.
    """
    replace, calls = os.replace, 0

    def faulty_replace(source: Path, target: Path, **more: object) -> None:
        nonlocal calls
        calls += 1
        this = which in (calls, Path(target).name)
        if this and not afterwards:
            happens()
        replace(source, target, **more)
        if this and afterwards:
            happens()

    os.replace = faulty_replace


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def write_no_more() -> None:
    """Let no file grow any more, as on a full disk; Python ignores the signal."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def fill_disk(folder: Path) -> None:
    """Fill the disk of a folder to the last byte."""
    with (folder / BALLAST).open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def lose_permissions(*folders: Path) -> None:
    """Make folders unwritable; root also loses its capability to ignore file modes."""
    for folder in folders:
        folder.chmod(0o555)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0


def remove(folder: Path) -> None:
    """Remove a folder at once, even if a thread is writing to it."""
    gone = folder.with_name(f"{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def replace_by_a_file(folder: Path) -> None:
    """Replace a folder by a file."""
    file = folder.with_name(f"{folder.name}.file")
    file.write_text("not a folder")
    while not folder.is_file():
        if folder.exists():
            remove(folder)
        with contextlib.suppress(IsADirectoryError):  # a thread has created the folder again
            file.rename(folder)


def print_to(path: str) -> None:
    """Redirect stdout to a file, such as /dev/full."""
    os.dup2(os.open(path, os.O_WRONLY), 1)


def have_no_locks(number: int) -> None:
    """Simulate a file system without locks, which fails with this errno."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = flock


def turn_back_the_clock(seconds: float) -> None:
    """Set the clock back by so many seconds each time it is read; monotonic clocks are not affected."""
    now, reads = time.time, 0

    def earlier() -> float:
        nonlocal reads
        reads += 1
        return now() - reads * seconds

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(earlier(), tz)

    time.time = earlier
    _patch_everywhere("datetime", datetime.datetime, Datetime)


def stop_the_clock(at: str) -> None:
    """Stop the clock at a given time."""
    when = datetime.datetime.fromisoformat(at)

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return when.astimezone(tz)

    time.time = when.timestamp
    _patch_everywhere("datetime", datetime.datetime, Datetime)


def _patch_everywhere(name: str, old: object, new: object) -> None:
    """Replace an object that modules of metarun and Hydra have imported."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(("metarun", "hydra")) and getattr(module, name, None) is old:
            setattr(module, name, new)
