"""Files that are, at every instant and after a power cut, what they were or what they were to become, whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from metarun.errors import UserError


@contextmanager
def replacing(path: Path, before: Path | None = None) -> Iterator[IO[bytes]]:
    """Within the block, write what `path` is to hold; it does so when the block ends, and not before.

    Args:
        path: where it is to stand. One process at a time may write it.
        before: where what `path` held goes; None: away.

    Raises:
        UserError: it cannot be written; `path` holds what it held, and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if before is not None and path.exists():
                path.replace(before)
            temporary.replace(path)
            _fsync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}); mend that, then the same command goes on.") from error


def _fsync_folder(folder: Path) -> None:
    """Let the names of its files outlive a power cut, not only what is in them."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
