"""The cache file format: an .npz archive, written in blocks, and read whole or memory-mapped.

The examples are its first entry, uncompressed and aligned, as a memory map needs.
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

# An empty extra field, as of Android's zipalign: it pads the entry's header to 64 bytes; numpy's is a multiple of 64.
_ALIGNING = struct.pack("<HH", 0xD935, 0)


@dataclass(frozen=True)
class ExampleStream:
    """Examples that are made while they are written, because all at once might not fit into memory.

    Args:
        blocks: yields all examples in order, (any number, *shape) at a time; iterated once.
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


def as_stream(examples: Examples) -> ExampleStream:
    """Return a stream of examples that are already made."""
    values = examples.values
    return ExampleStream(pieces(values), examples.shape, values.dtype, examples.offsets, examples.class_names)


def write(file: IO[bytes], key: str, examples: ExampleStream) -> str:
    """Write a cache file, one block in memory at a time; return its checksum, which covers the key."""
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
        assert written == len(examples), f"{written} examples were made but {len(examples)} announced"
        rest = {"offsets": examples.offsets, "class_names": examples.class_names, "checksum": digest.hexdigest()}
        for name, value in rest.items():
            with archive.open(f"{name}.npy", "w") as member:
                npy.write_array(member, np.asarray(value), allow_pickle=False)
    return digest.hexdigest()


def load(path: Path) -> tuple[Examples, str]:
    """Read a cache file into memory; return the examples and the stored checksum."""
    # Opened here because numpy does not close a file that it cannot read.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        examples = Examples(file["values"], file["offsets"], tuple(file["class_names"].tolist()))
        return examples, str(file["checksum"])


def load_mapped(path: Path) -> tuple[Examples, str]:
    """Memory-map the examples of a cache file without reading them; return them and the stored checksum."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        values = _map(path, opened, file.zip.getinfo("values.npy"))
        return Examples(values, file["offsets"], tuple(file["class_names"].tolist())), str(file["checksum"])


def checksum(key: str, examples: Examples) -> str:
    """Return the checksum of a file with this key and these examples."""
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
    lengths = struct.unpack("<HH", opened.read(4))  # of the entry's name and extra fields, which follow
    opened.seek(sum(lengths), os.SEEK_CUR)
    version = npy.read_magic(opened)
    shape, fortran_order, dtype = npy.read_array_header_1_0(opened)
    if version != (1, 0) or fortran_order:
        raise ValueError("its examples are in Fortran order or another npy version")
    values: Values = np.memmap(path, dtype, "r", opened.tell(), shape)
    return values
