"""Files of arrays, such as what a run keeps for the report: of numbers and characters, so that reading runs no code."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.results import checksums
from metarun.system.atomic_write import write_bytes

Arrays = Mapping[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by name, atomically and compressed."""
    content = BytesIO()
    np.savez_compressed(content, **dict(arrays))  # type: ignore[arg-type]  # its other argument is a flag
    write_bytes(path, content.getvalue())


@contextmanager
def reading_arrays(path: Path, most_bytes: int) -> Iterator[Arrays]:
    """Open what `write_arrays` wrote.

    Raises:
        UserError: the file is damaged, unpacks to more than `most_bytes`, or the block raises a ValueError.
    """
    with (
        checksums.reading(path, "delete it, or run it again with force=true."),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        if sum(entry.file_size for entry in arrays.zip.infolist()) > most_bytes:
            raise ValueError("it unpacks to too many bytes")
        yield arrays
