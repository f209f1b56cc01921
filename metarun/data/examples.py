"""Examples grouped by class, and the class splits that meta-learning is trained, chosen and judged on."""

import hashlib
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from metarun.data.door import check_examples, check_finite
from metarun.data.inputs import InputSpec, input_specs
from metarun.errors import UserError
from metarun.system.hash_cache import cached_answer

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Values = NDArray[Any]  # of one of the dtypes of `InputSpec`, or structured: a field for each input
PIECE = 1 << 24  # bytes that are looked at at once of an array that may be larger than memory


@dataclass(frozen=True)
class Examples:
    """All examples of one split, the classes one after the other.

    Args:
        values: (examples, *shape) of a dtype of `InputSpec`: uint8, of which k stands for the number k / 255, float32,
            int32 ids, or a structured dtype with such fields, (examples,). Class `c` owns rows `offsets[c]` to
            `offsets[c + 1]`. A memory map (`np.memmap`) stays on disk, and tasks are gathered from there.
        offsets: (classes + 1,) int64, from 0 to the number of examples.
        class_names: one name per class, unique within the data set.
    """

    values: Values
    offsets: NDArray[np.int64]
    class_names: tuple[str, ...]

    @classmethod
    def from_classes(cls, classes: Mapping[str, Values]) -> Self:
        """Stack `{class name: (examples, *shape)}`, in the order of the mapping.

        Raises:
            UserError: a class is no array, or its examples differ in shape, from each other or from another class's.
        """
        if not classes:
            return cls(NO_EXAMPLES.values, NO_EXAMPLES.offsets, ())
        arrays = {name: _as_array(name, values) for name, values in classes.items()}
        _check_one_shape(arrays)
        offsets = np.cumsum([0, *map(len, arrays.values())], dtype=np.int64)
        return cls(np.concatenate([*arrays.values()]), offsets, tuple(arrays))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(classes,) how many examples each class has."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, channels first; () where it has named fields."""
        return self.values.shape[1:]

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """The fields of one example by name."""
        return input_specs(self.values.dtype, self.shape)

    @property
    def on_disk(self) -> bool:
        """Whether the values are a memory map, which may be larger than memory."""
        return isinstance(self.values, np.memmap)

    def inverted(self) -> Self:
        """Return uint8 examples with light for dark and dark for light."""
        return replace(self, values=255 - self.values)

    def of_class(self, name: str) -> Values:
        """(examples, *shape) the examples of one class."""
        c = self.class_names.index(name)
        return self.values[self.offsets[c] : self.offsets[c + 1]]


def _as_array(name: str, values: object) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UserError(f"class '{name}' has examples of several shapes", "give all one shape.") from error
    if array.ndim == 0:
        raise UserError(f"class '{name}' is a {type(values).__name__} but its examples are an array", "convert them.")
    return array


def _check_one_shape(arrays: Mapping[str, NDArray[Any]]) -> None:
    first = next(iter(arrays))
    for name, values in arrays.items():
        if values.shape[1:] != arrays[first].shape[1:]:
            raise UserError(
                f"class '{name}' has examples of shape {values.shape[1:]} but '{first}' of {arrays[first].shape[1:]}",
                "give all one shape.",
            )


NO_EXAMPLES = Examples(np.empty((0, 1), np.uint8), np.zeros(1, np.int64), ())


@dataclass(frozen=True)
class LeftOut:
    """What lies where a data set comes from and is not in it.

    Args:
        by_choice: what a list does not name, each a clause: "2 classes of 40 pictures that split.json does not name".
        unasked: what nobody said should be left out, and what looks like an oversight, each a clause to warn of.
    """

    by_choice: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassDataset:
    """A data set whose classes are split into meta-train, meta-val and meta-test.

    Args:
        name: what messages call it.
        splits: the examples of each split.
        left_out: what lies there as well.

    Raises:
        UserError: a class stands in two splits, a split is empty, or examples are not finite uint8 or float32 of one
            shape; see `check_examples`.
    """

    name: str
    splits: Mapping[Split, Examples]
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise UserError(f"a data set is called {self.name!r} but a name is a text", "make it one.")
        if not isinstance(self.splits, Mapping):
            kind = type(self.splits).__name__
            raise UserError(f"the splits of {self.name} are a {kind} but a mapping of train, val and test is wanted.")
        for split in SPLITS:
            if not isinstance(self.splits.get(split, NO_EXAMPLES), Examples):
                kind = type(self.splits[split]).__name__
                raise UserError(f"split '{split}' of {self.name} is a {kind} but metarun.data.Examples are wanted.")
            if split not in self.splits or len(self.splits[split].class_names) == 0:
                raise UserError(f"split '{split}' of {self.name} has no classes", "every split needs some.")
            self._check_arrays(split, self.splits[split])
        check_disjoint(self.name, {split: examples.class_names for split, examples in self.splits.items()})

    def _check_arrays(self, split: Split, examples: Examples) -> None:
        """What a class of the user's own may get wrong."""
        where, values = f"split '{split}' of {self.name}", examples.values
        check_examples(where, values, examples.offsets, examples.class_names)
        if values.dtype != self.splits["train"].values.dtype:
            raise UserError(
                f"{where} holds {values.dtype} but 'train' {self.splits['train'].values.dtype}", "convert one of them."
            )
        if examples.shape != self.shape:
            raise UserError(
                f"split '{split}' of {self.name} has examples of shape {examples.shape} but 'train' of {self.shape}",
                "give all one shape.",
            )
        if examples.on_disk and not (examples.values.flags.c_contiguous and examples.values.flags.aligned):
            raise UserError(
                f"split '{split}' of {self.name} is a piece of a memory map, which would be copied",
                "map it by itself, in C order.",
            )
        if any(spec.kind == "floats" for spec in examples.inputs.values()):
            self._check_finite(where, split, examples)

    def _check_finite(self, where: str, split: Split, examples: Examples) -> None:
        """Look at every number; of a memory map that is kept beside its file, since it takes a while."""

        def check() -> str:
            check_finite(where, pieces(examples.values), examples.offsets, examples.class_names)
            return "finite"

        if (file := _file_of(examples)) is None:
            check()
        else:
            cached_answer([file], f"finite|{file}|{_header(split, examples)}", check)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, channels first; () where it has named fields."""
        return self.splits["train"].shape

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """The fields of one example by name."""
        return self.splits["train"].inputs

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the names, grouping and bytes of every split: equal hashes mean equal examples.

        Of memory maps it is kept beside the file of the first one, since it takes a while to read them.
        """
        files = [file for split in SPLITS if (file := _file_of(self.splits[split]))]
        if len(files) < len(SPLITS):
            return self._hash()
        headers = [_header(split, self.splits[split]) for split in SPLITS]
        return cached_answer(files, f"data hash|{files}|{headers}", self._hash)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(_header(split, self.splits[split]).encode())
            for piece in pieces(self.splits[split].values):
                digest.update(piece.data)
        return digest.hexdigest()


def pieces(values: Values) -> Iterator[Values]:
    """Cut an array along its first dimension into contiguous pieces of a few megabytes."""
    rows = max(1, PIECE // max(1, values[:1].nbytes))
    for first in range(0, len(values), rows):
        yield np.ascontiguousarray(values[first : first + rows])


def _header(split: Split, examples: Examples) -> str:
    fields = f"{examples.values.dtype.descr}|" if examples.values.dtype.fields else ""
    return f"{split}|{fields}{examples.values.shape}|{examples.offsets.tolist()}|{examples.class_names}"


def _file_of(examples: Examples) -> Path | None:
    """Return the file of which the examples are the memory map; None: they are in memory, or a piece of another map."""
    values: Any = examples.values
    whole = isinstance(values, np.memmap) and isinstance(values.base, mmap.mmap) and values.filename
    return Path(values.filename) if whole else None


def check_disjoint(name: str, classes: Mapping[Split, Sequence[str]]) -> None:
    """Raise a UserError that names a class which stands in two splits: meta-test classes must never have been seen."""
    for one, other in combinations(classes, 2):
        shared = sorted(set(classes[one]) & set(classes[other]))
        if shared:
            raise UserError(
                f"class '{shared[0]}' stands in both '{one}' and '{other}' of {name} ({len(shared)} shared in all)",
                "give each class to one split.",
            )
