"""The form of a cache file: an .npz archive, written piece by piece, read whole or mapped into memory where it lies.

The examples are its first entry, not compressed, and begin where any number may begin: a memory map needs both.
"""

import hashlib
import os
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from metarun.data.examples import Examples, Values, pieces

# An empty extra field of Android's zipalign: with it the entry's header has 64 bytes, of which numpy's is a multiple.
_ALIGNING = struct.pack("<HH", 0xD935, 0)


@dataclass(frozen=True)
class Unwritten:
    """Examples that are made while they are written, since all at once might not fit into memory.

    Args:
        blocks: yields all examples in order, (any number, *shape) at a time; to be gone through once.
        shape: of one example.
        dtype: uint8 or float32.
        offsets: as of `Examples`.
        class_names: as of `Examples`.
    """

    blocks: Iterable[Values]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.offsets[-1])


def unwritten(examples: Examples) -> Unwritten:
    """Return examples that are there already as ones to be written."""
    values = examples.values
    return Unwritten(pieces(values), examples.shape, values.dtype, examples.offsets, examples.class_names)


def write(file: IO[bytes], key: str, examples: Unwritten) -> str:
    """Write a cache file, holding no more than a block in memory; return its checksum, which includes the key."""
    shape = (len(examples), *examples.shape)
    digest = _begin(key, examples.dtype, shape, examples.offsets, examples.class_names)
    written = 0
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("values.npy")
        entry.extra = _ALIGNING
        with archive.open(entry, "w", force_zip64=True) as member:
            header = {"descr": npy.dtype_to_descr(examples.dtype), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(member, header)
            for block in examples.blocks:
                content = np.ascontiguousarray(block).data
                digest.update(content)
                member.write(content)
                written += len(block)
        assert written == len(examples), f"{written} examples were made and {len(examples)} promised"
        rest = {"offsets": examples.offsets, "class_names": examples.class_names, "checksum": digest.hexdigest()}
        for name, value in rest.items():
            with archive.open(f"{name}.npy", "w") as member:
                npy.write_array(member, np.asarray(value), allow_pickle=False)
    return digest.hexdigest()


def load(path: Path) -> tuple[Examples, str]:
    """Read a cache file into memory; return the examples and the checksum that it states."""
    # Opened here, because numpy leaves a file open that it cannot read.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        examples = Examples(file["values"], file["offsets"], tuple(file["class_names"].tolist()))
        return examples, str(file["checksum"])


def mapped(path: Path) -> tuple[Examples, str]:
    """Map the examples of a cache file into memory, without reading them; return them and the checksum it states."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        values = _map(path, opened, file.zip.getinfo("values.npy"))
        return Examples(values, file["offsets"], tuple(file["class_names"].tolist())), str(file["checksum"])


def checksum(key: str, examples: Examples) -> str:
    """Return the checksum that a file with this key and these examples has to state."""
    values = examples.values
    digest = _begin(key, values.dtype, values.shape, examples.offsets, examples.class_names)
    for piece in pieces(values):
        digest.update(piece.data)
    return digest.hexdigest()


def _begin(
    key: str, dtype: np.dtype[Any], shape: tuple[int, ...], offsets: NDArray[np.int64], class_names: tuple[str, ...]
) -> "hashlib._Hash":
    return hashlib.sha256(f"{key}|{dtype}{shape}|{offsets.tolist()}|{class_names}".encode())


def _map(path: Path, opened: IO[bytes], entry: zipfile.ZipInfo) -> Values:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError("its examples are compressed")
    opened.seek(entry.header_offset + 26)
    lengths = struct.unpack("<HH", opened.read(4))  # of the entry's name and of its extra fields, which follow
    opened.seek(sum(lengths), os.SEEK_CUR)
    version = npy.read_magic(opened)
    shape, by_columns, dtype = npy.read_array_header_1_0(opened)
    if version != (1, 0) or by_columns:
        raise ValueError("its examples are in another order")
    values: Values = np.memmap(path, dtype, "r", opened.tell(), shape)
    return values
