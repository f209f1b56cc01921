"""Which split a goal belongs to: a hash of its cell decides, so that no split has a goal of another."""

import hashlib

from metarun.data.examples import Split

# Tenths of the cells: meta-train has 6, meta-val 2, meta-test 2.
TENTHS: dict[Split, range] = {"train": range(6), "val": range(6, 8), "test": range(8, 10)}


def tenth_of(cell: str) -> int:
    """Return a number from 0 to 9: which tenth of all cells a cell is in."""
    return hashlib.sha256(cell.encode()).digest()[0] % 10
