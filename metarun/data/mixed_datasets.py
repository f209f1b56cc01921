"""Loaded data sets of classes as one, without copying their examples."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.examples import SPLITS, ClassDataset, Examples, FloorVectors, Skipped, Split
from metarun.data.inputs import InputSpec


@dataclass(frozen=True)
class MixedDatasets:
    """Loaded data sets of classes, whose examples have the same fields and shapes.

    Args:
        parts: the data sets by name.
        weights: of each, positive.
    """

    parts: Mapping[str, ClassDataset]
    weights: Mapping[str, float]

    @property
    def name(self) -> str:
        """What messages call it."""
        return "+".join(self.parts)

    @property
    def skipped(self) -> Skipped:
        """What was skipped in each data set."""
        return Skipped(
            tuple(f"{name}: {clause}" for name, part in self.parts.items() for clause in part.skipped.unlisted),
            tuple(f"{name}: {clause}" for name, part in self.parts.items() for clause in part.skipped.warnings),
        )

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """The fields of one example by name."""
        return next(iter(self.parts.values())).inputs

    @property
    def floor_vectors(self) -> FloorVectors:
        """What the floor is computed on, see `ClassDataset`."""
        return next(iter(self.parts.values())).floor_vectors

    @property
    def hash(self) -> str:
        """A SHA-256 over the names and hashes of the data sets."""
        return hashlib.sha256("|".join(f"{name}={part.hash}" for name, part in self.parts.items()).encode()).hexdigest()

    @cached_property
    def splits(self) -> dict[Split, Examples]:
        """The examples of all data sets, one after the other; nothing is copied."""
        return {split: _chained({name: part.splits[split] for name, part in self.parts.items()}) for split in SPLITS}


class _Chained:
    """Arrays one after the other, for reading rows without copying everything."""

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = arrays
        self._begins = np.cumsum([0, *map(len, arrays)])
        self.dtype, self.shape = arrays[0].dtype, (int(self._begins[-1]), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __iter__(self) -> Iterator[Any]:
        for array in self._arrays:
            yield from array

    def __getitem__(self, rows: int | slice) -> NDArray[Any]:
        if not isinstance(rows, slice):
            number = int(np.searchsorted(self._begins, rows, side="right")) - 1
            found: NDArray[Any] = self._arrays[number][rows - self._begins[number]]
            return found
        first, last, _ = rows.indices(len(self))
        parts = [
            array[max(0, first - begin) : max(0, last - begin)]
            for array, begin in zip(self._arrays, self._begins, strict=False)
        ]
        return np.concatenate([part for part in parts if len(part)] or [self._arrays[0][:0]])


def _chained(parts: Mapping[str, Examples]) -> Examples:
    offsets = [np.zeros(1, np.int64)]
    for examples in parts.values():
        offsets.append(examples.offsets[1:] + offsets[-1][-1])
    values: Any = _Chained([examples.values for examples in parts.values()])
    names = tuple(f"{name}/{each}" for name, examples in parts.items() for each in examples.class_names)
    return Examples(values, np.concatenate(offsets), names)
