"""Read files of arrays, such as what a run keeps for the report: numbers and characters, so that no code is run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.results import checksums

Arrays = Mapping[str, NDArray[Any]]


@contextmanager
def reading_arrays(path: Path, most_bytes: int) -> Iterator[Arrays]:
    """Open what `write_npz` wrote.

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
