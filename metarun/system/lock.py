"""Exclusive locks between processes: kernel locks, or lock files on file systems without locks."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import SoftFileLock, Timeout

# What NFS, Lustre and FUSE return when mounted without locks.
NO_LOCK_ERRNOS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
POLL_SECONDS = 0.5  # how often to check whether a lock file is gone


@contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at `path` within the block.

    Args:
        path: the lock file, which stays behind, empty. Its folder is created if it is missing.
        on_wait: called before waiting for another process, with a hint for the user, which is mostly empty. An
            exception that it raises ends the wait.

    Raises:
        OSError: the lock file cannot be created.
    """
    try:
        file = _acquire(path, on_wait)
    except OSError as error:
        if error.errno not in NO_LOCK_ERRNOS:
            raise
        with _lock_file(path.with_name(f"{path.name}.held"), on_wait):
            yield
    else:
        with file:  # closing it releases the lock
            yield


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`."""
    if path.with_name(f"{path.name}.held").exists():
        return True
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no lock file, or the file system has no locks
        return False
    return False


def _acquire(path: Path, on_wait: Callable[[str], None]) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a")
        except FileNotFoundError:  # another process has just removed the folder
            continue
        try:
            _flock(file, on_wait)
            if os.fstat(file.fileno()).st_nlink > 0:  # not removed meanwhile, so other processes will open this file
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _flock(file: IO[str], on_wait: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait("")
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _lock_file(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold a file with this process's id and host; a file left by a process that died on this host is stale."""
    lock = SoftFileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait(f" This file system has no locks; if no other process is running, delete {path}.")
        lock.acquire(poll_interval=POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()
