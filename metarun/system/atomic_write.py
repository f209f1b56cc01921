"""Atomic file writes: after a crash or a power cut a file is the old or the new one, complete."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from metarun.errors import UserError, printable


class WriteError(UserError):
    """A file cannot be written."""


@contextmanager
def atomic_write(path: Path, backup: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the block ends.

    Args:
        path: the file to write. Only one process may write it at a time.
        backup: where to move the previous content of `path`; None discards it.

    Raises:
        WriteError: the file cannot be written; `path` is unchanged and no temporary file is left.
    """
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # bytes on the command line that are not UTF-8
        raise WriteError(f"{printable(str(path))} is not a valid file name", "use another name.") from None
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if backup is not None and path.exists():
                path.replace(backup)
            temporary.replace(path)
            _fsync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(
            f"{path} cannot be written ({reason})", "fix this and rerun the same command to resume."
        ) from error


def _fsync_folder(folder: Path) -> None:
    """Make file names, not only file contents, survive a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a binary file atomically."""
    with atomic_write(path) as file:
        file.write(content)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object atomically; a NaN in it is a bug and raises ValueError."""
    write_text(path, _as_json(record))


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a CSV table atomically."""
    import pandas as pd  # here and below: takes half a second, and most commands do not need it

    # As objects, so that integers stay integers in a column with missing values.
    write_text(path, pd.DataFrame(rows, columns=list(columns), dtype=object).to_csv(index=False))


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """Write a Parquet table atomically."""
    import pandas as pd

    write_bytes(path, pd.DataFrame(columns).to_parquet(index=False))


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write NumPy arrays atomically, compressed."""
    import numpy as np

    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)
