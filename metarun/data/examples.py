"""Examples grouped by class, and the class splits that meta-learning is trained, chosen and judged on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Examples:
    """All examples of one split, the classes one after the other.

    Args:
        values: (examples, *shape) uint8; class `c` owns rows `offsets[c]` to `offsets[c + 1]`.
        offsets: (classes + 1,) int64, from 0 to the number of examples.
        class_names: one name per class, unique within the data set.
    """

    values: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]

    @classmethod
    def from_classes(cls, classes: Mapping[str, NDArray[np.uint8]]) -> Self:
        """Stack `{class name: (examples, *shape) uint8}`, in the order of the mapping."""
        sizes = [len(images) for images in classes.values()]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(np.concatenate(list(classes.values())), offsets, tuple(classes))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(classes,) how many examples each class has."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, channels first."""
        return self.values.shape[1:]

    def of_class(self, name: str) -> NDArray[np.uint8]:
        """(examples, *shape) the examples of one class."""
        c = self.class_names.index(name)
        return self.values[self.offsets[c] : self.offsets[c + 1]]


@dataclass(frozen=True)
class ClassDataset:
    """A data set whose classes are split into meta-train, meta-val and meta-test.

    Raises:
        UserError: a class stands in two splits, a split is empty, or examples are not uint8 of one shape.
    """

    name: str
    splits: Mapping[Split, Examples]

    def __post_init__(self) -> None:
        for split in SPLITS:
            if split not in self.splits or not self.splits[split].class_names:
                raise UserError(
                    f"split '{split}' of {self.name} has no classes; every split needs some (see `data.split`)."
                )
            self._check_arrays(split, self.splits[split])
        check_disjoint(self.name, {split: examples.class_names for split, examples in self.splits.items()})

    def _check_arrays(self, split: Split, examples: Examples) -> None:
        """What a class of the user's own may get wrong; metarun itself scales 0..255 to 0..1."""
        if examples.values.dtype != np.uint8:
            raise UserError(
                f"split '{split}' of {self.name} holds {examples.values.dtype} but examples are uint8, 0 to 255; "
                "convert them."
            )
        if examples.shape != self.shape:
            raise UserError(
                f"split '{split}' of {self.name} has examples of shape {examples.shape} but 'train' of {self.shape}; "
                "give all one shape."
            )
        if len(examples.offsets) != len(examples.class_names) + 1 or examples.offsets[-1] != len(examples.values):
            raise UserError(
                f"the offsets of split '{split}' of {self.name} do not fit its {len(examples.values)} examples."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, channels first."""
        return self.splits["train"].shape

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the names, grouping and bytes of every split: equal hashes mean equal examples."""
        digest = hashlib.sha256()
        for split in SPLITS:
            examples = self.splits[split]
            header = f"{split}|{examples.values.shape}|{examples.offsets.tolist()}|{examples.class_names}"
            digest.update(header.encode())
            digest.update(np.ascontiguousarray(examples.values).data)
        return digest.hexdigest()


def check_disjoint(name: str, classes: Mapping[Split, Sequence[str]]) -> None:
    """Raise a UserError that names a class which stands in two splits: meta-test classes must never have been seen."""
    for one, other in combinations(classes, 2):
        shared = sorted(set(classes[one]) & set(classes[other]))
        if shared:
            raise UserError(
                f"class '{shared[0]}' stands in both '{one}' and '{other}' of {name} ({len(shared)} shared in all); "
                "give each class to one split in `data.split`."
            )
