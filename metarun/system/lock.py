"""One process at a time: by the kernel's lock, or by a file's being there where file systems are without locks."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import SoftFileLock, Timeout

# How NFS, Lustre and FUSE say that they are mounted without locks.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
SECONDS_BETWEEN_LOOKS = 0.5  # at a file whose going away nobody announces


@contextmanager
def alone(path: Path, waits: Callable[[str], None]) -> Iterator[None]:
    """Within the block, no other process is in one with this path.

    Args:
        path: of the lock file, which stays behind, empty. Its folder is made where it is not there.
        waits: told, before this process waits, that another is at it: what else there is to know, mostly nothing. What
            it raises ends the wait.

    Raises:
        OSError: the lock file cannot be made.
    """
    try:
        file = _locked(path, waits)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        with _marked(path.with_name(f"{path.name}.held"), waits):
            yield
    else:
        with file:  # closing it lets go
            yield


def _locked(path: Path, waits: Callable[[str], None]) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a")
        except FileNotFoundError:  # who was refused his run has just removed its folder
            continue
        try:
            _wait_for(file, waits)
            if os.fstat(file.fileno()).st_nlink > 0:  # nobody removed it meanwhile: it is what others will ask for
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _wait_for(file: IO[str], waits: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waits("")
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _marked(path: Path, waits: Callable[[str], None]) -> Iterator[None]:
    """Within the block a file names this process and its host; one that names a process that died here is nobody's."""
    mark = SoftFileLock(path)
    try:
        mark.acquire(timeout=0)
    except Timeout:
        waits(f" There are no locks on this file system: if no process is at work, delete {path}.")
        mark.acquire(poll_interval=SECONDS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        mark.release()
