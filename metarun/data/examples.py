"""Examples grouped by class, and the class splits for meta-training, meta-validation and meta-test."""

import hashlib
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from metarun.data.display import Display
from metarun.data.encoding import Encoding
from metarun.data.example_checks import check_examples, check_finite, check_ids
from metarun.data.example_groups import ExampleGroups, check_example_groups
from metarun.data.inputs import InputSpec, input_specs
from metarun.errors import UserError
from metarun.system.hash_cache import cached_answer

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
# The vector of an example for a floor: its numbers, or their mean and deviation over the last dimension.
FloorVectors = Literal["raw", "over_time"]
Values = NDArray[Any]  # of a dtype of `InputSpec`, or structured with one field per input
Grouping = Callable[[str], str]  # maps the name of a class to that of its group
PIECE = 1 << 24  # bytes read at once of an array that may be larger than memory


@dataclass(frozen=True)
class Examples:
    """All examples of one split, sorted by class.

    Args:
        values: (examples, *shape) of a dtype of `InputSpec`: uint8, where k means k / 255, float32, int32 ids, or
            (examples,) of a structured dtype with such fields. Class `c` has rows `offsets[c]` to `offsets[c + 1]`. A
            memory map (`np.memmap`) stays on disk; tasks are read from it.
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
            UserError: a class is not an array, or examples differ in shape.
        """
        if not classes:
            return cls(NO_EXAMPLES.values, NO_EXAMPLES.offsets, ())
        arrays = {name: _as_array(name, values) for name, values in classes.items()}
        _check_one_shape(arrays)
        offsets = np.cumsum([0, *map(len, arrays.values())], dtype=np.int64)
        return cls(np.concatenate([*arrays.values()]), offsets, tuple(arrays))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(classes,) number of examples of each class."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, channels first; () if it has named fields."""
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
        """Return uint8 examples with light and dark swapped."""
        return replace(self, values=255 - self.values)

    def of_class(self, name: str) -> Values:
        """(examples, *shape) the examples of one class."""
        c = self.class_names.index(name)
        return self.values[self.offsets[c] : self.offsets[c + 1]]


def _as_array(name: str, values: object) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UserError(f"class '{name}' has examples of several shapes", "give all the same shape.") from error
    if array.ndim == 0:
        raise UserError(f"class '{name}' is a {type(values).__name__} but it must be an array", "convert it.")
    return array


def _check_one_shape(arrays: Mapping[str, NDArray[Any]]) -> None:
    first = next(iter(arrays))
    for name, values in arrays.items():
        if values.shape[1:] != arrays[first].shape[1:]:
            raise UserError(
                f"class '{name}' has examples of shape {values.shape[1:]} but '{first}' of {arrays[first].shape[1:]}",
                "give all the same shape.",
            )


NO_EXAMPLES = Examples(np.empty((0, 1), np.uint8), np.zeros(1, np.int64), ())


@dataclass(frozen=True)
class Skipped:
    """What the source of a data set contains but the data set does not.

    Args:
        unlisted: clauses about what a list of the user does not name: "2 classes of 40 pictures not in split.json".
        warnings: clauses about what was skipped without being asked for, or looks like an oversight.
    """

    unlisted: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassDataset:
    """A data set whose classes are split into meta-train, meta-val and meta-test.

    Args:
        name: in messages.
        splits: the examples of each split.
        skipped: what its source contains besides.
        floor_vectors: what the floor is computed on: "raw", the numbers of an example, or "over_time", the mean and the
            deviation of a float map over its last dimension, time.
        groupings: how classes can be grouped, by the name of a grouping: `{"alphabet": alphabet_of}`, where
            `alphabet_of("Greek/character01")` is "Greek". `task.within=alphabet` makes tasks of one group each.
        id_sizes: of each field of ids, how many there are (the vocabulary), which a network with an embedding needs.
        out_of_scope: (examples, *shape) like those of the classes but of none, for `test.out_of_scope`; None: there are
            none. They are in no other task and not in `hash`.
        encoding: returns how a user's own files become such examples; None: that is not known.
        example_groups: how examples can be grouped, by the name of a grouping and by split: `{"speaker": {"train":
            ExampleGroups.of(speakers), …}}`. `task.across=speaker` takes support set and queries from different ones.
        display: returns how examples are shown to people, who may need more than their numbers.
        encoded_from: the hash of the examples that an encoder made these of; None: they are no output of an encoder.

    Raises:
        UserError: a class is in two splits, a split is empty, examples are invalid (see `check_examples`),
            or an id is not below its size.
    """

    name: str
    splits: Mapping[Split, Examples]
    skipped: Skipped = field(default_factory=Skipped)
    floor_vectors: FloorVectors = "raw"
    groupings: Mapping[str, Grouping] = field(default_factory=dict)
    id_sizes: Mapping[str, int] = field(default_factory=dict)
    out_of_scope: Values | None = None
    encoding: Callable[[], Encoding] | None = field(default=None, compare=False)
    example_groups: Mapping[str, Mapping[Split, ExampleGroups]] = field(default_factory=dict)
    display: Callable[[], Display] = Display
    encoded_from: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise UserError(f"the name of a data set is {self.name!r} but it must be a string", "convert it.")
        if not isinstance(self.splits, Mapping):
            kind = type(self.splits).__name__
            raise UserError(f"the splits of {self.name} are a {kind} but must be a mapping of train, val and test.")
        if not isinstance(self.groupings, Mapping) or not all(map(callable, self.groupings.values())):
            raise UserError(
                f"the groupings of {self.name} are {self.groupings!r}",
                'make them a mapping such as {"alphabet": alphabet_of}, with a function from class name to group.',
            )
        for split in SPLITS:
            if not isinstance(self.splits.get(split, NO_EXAMPLES), Examples):
                kind = type(self.splits[split]).__name__
                raise UserError(f"split '{split}' of {self.name} is a {kind} but must be metarun.data.Examples.")
            if split not in self.splits or len(self.splits[split].class_names) == 0:
                raise UserError(f"split '{split}' of {self.name} has no classes", "add some.")
            self._check_arrays(split, self.splits[split])
        own = self.out_of_scope
        if own is not None and (own.dtype != self.splits["test"].values.dtype or own.shape[1:] != self.shape):
            raise UserError(
                f"the examples of {self.name} that are out of scope have shape {own.shape[1:]} and dtype {own.dtype}",
                "give them those of the other examples.",
            )
        check_disjoint(self.name, {split: examples.class_names for split, examples in self.splits.items()})
        check_example_groups(
            self.name, {split: len(self.splits[split].values) for split in SPLITS}, self.example_groups
        )

    def _check_arrays(self, split: Split, examples: Examples) -> None:
        """Check the arrays of a split, which may come from a user's code."""
        where, values = f"split '{split}' of {self.name}", examples.values
        check_examples(where, values, examples.offsets, examples.class_names)
        if values.dtype != self.splits["train"].values.dtype:
            raise UserError(
                f"{where} has dtype {values.dtype} but 'train' has {self.splits['train'].values.dtype}",
                "convert one of them.",
            )
        if examples.shape != self.shape:
            raise UserError(
                f"split '{split}' of {self.name} has examples of shape {examples.shape} but 'train' of {self.shape}",
                "give all the same shape.",
            )
        if examples.on_disk and not (examples.values.flags.c_contiguous and examples.values.flags.aligned):
            raise UserError(
                f"split '{split}' of {self.name} is part of a memory map and would be copied",
                "create a memory map of its own, in C order.",
            )
        if any(spec.kind == "floats" for spec in examples.inputs.values()) or self.id_sizes:
            self._check_numbers(where, split, examples)

    def _check_numbers(self, where: str, split: Split, examples: Examples) -> None:
        """Check every number; for a memory map the result is cached beside its file."""

        def check() -> str:
            check_finite(where, pieces(examples.values), examples.offsets, examples.class_names)
            check_ids(where, pieces(examples.values), self.id_sizes)
            return "finite"

        if (file := _file_of(examples)) is None:
            check()
        else:
            sizes = f"|{dict(self.id_sizes)}" if self.id_sizes else ""
            cached_answer([file], f"finite|{file}|{_header(split, examples)}{sizes}", check)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example, channels first; () if it has named fields."""
        return self.splits["train"].shape

    @property
    def inputs(self) -> dict[str, InputSpec]:
        """The fields of one example by name."""
        fields = self.splits["train"].inputs
        return {name: replace(spec, size=self.id_sizes.get(name)) for name, spec in fields.items()}

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the names, grouping and bytes of every split: equal hashes mean equal examples.

        Encoded examples have the hash of the raw ones, so that all encoders are tested on the same tasks. For memory
        maps the result is cached beside the first file.
        """
        if self.encoded_from is not None:
            return self.encoded_from
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
    """Split an array along its first dimension into contiguous pieces of a few megabytes."""
    rows = max(1, PIECE // max(1, values[:1].nbytes))
    for first in range(0, len(values), rows):
        yield np.ascontiguousarray(values[first : first + rows])


def _header(split: Split, examples: Examples) -> str:
    fields = f"{examples.values.dtype.descr}|" if examples.values.dtype.fields else ""
    return f"{split}|{fields}{examples.values.shape}|{examples.offsets.tolist()}|{examples.class_names}"


def _file_of(examples: Examples) -> Path | None:
    """Return the file whose memory map the examples are; None if they are in memory or part of another map."""
    values: Any = examples.values
    whole = isinstance(values, np.memmap) and isinstance(values.base, mmap.mmap) and values.filename
    return Path(values.filename) if whole else None


def check_disjoint(name: str, classes: Mapping[Split, Sequence[str]]) -> None:
    """Raise a UserError if a class is in two splits: meta-test classes must be new."""
    for one, other in combinations(classes, 2):
        shared = sorted(set(classes[one]) & set(classes[other]))
        if shared:
            raise UserError(
                f"class '{shared[0]}' is in both '{one}' and '{other}' of {name} ({len(shared)} shared in total)",
                "assign each class to one split.",
            )
