"""Files that are, at every instant and after a power cut, what they were or what they were to become, whole."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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
        raise UserError(f"{path} cannot be written ({reason})", "mend that, then the same command goes on.") from error


def _fsync_folder(folder: Path) -> None:
    """Let the names of its files outlive a power cut, not only what is in them."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_text(path: Path, text: str) -> None:
    """Write a file so that at every instant it is the old or the new one, whole."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as `write_text` does."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object, atomically; a NaN in it is a bug and raises ValueError."""
    write_text(path, _as_json(record))


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a table, atomically."""
    import pandas as pd  # here and below: half a second that most commands do without

    # As objects, so that a whole number stays one in a column that has gaps.
    write_text(path, pd.DataFrame(rows, columns=list(columns), dtype=object).to_csv(index=False))


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """Write a table by columns, atomically."""
    import pandas as pd

    write_bytes(path, pd.DataFrame(columns).to_parquet(index=False))
