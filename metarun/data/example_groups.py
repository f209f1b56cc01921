"""Which group each example is of, such as who speaks: a task's support set and queries can be of different groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError


@dataclass(frozen=True)
class ExampleGroups:
    """The groups of the examples of one split.

    Args:
        numbers: (examples,) int64, the number of the group of each example.
        names: (groups) of each group.
    """

    numbers: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Return the groups of examples whose groups have these names, one an example."""
        unique, numbers = np.unique(np.asarray(list(names), dtype=np.str_), return_inverse=True)
        return cls(numbers.astype(np.int64).reshape(-1), tuple(unique.tolist()))


def check_example_groups(name: str, sizes: Mapping[str, int], groups: object) -> None:
    """Check the groups of the examples of a data set, which may come from a user's code.

    Args:
        name: of the data set.
        sizes: the number of examples of each split.
        groups: by the name of a grouping and by split.

    Raises:
        UserError: they are not such a mapping, or the groups of a split do not match its examples.
    """
    if not isinstance(groups, Mapping) or not all(isinstance(each, Mapping) for each in groups.values()):
        raise UserError(
            f"the example_groups of {name} are a {type(groups).__name__}",
            'make them a mapping such as {"speaker": {"train": ExampleGroups.of(speakers), …}}.',
        )
    for grouping, by_split in groups.items():
        for split, size in sizes.items():
            _check(f"the groups by {grouping} of split '{split}' of {name}", size, by_split.get(split))


def _check(where: str, size: int, groups: Any) -> None:
    if not isinstance(groups, ExampleGroups):
        raise UserError(f"{where} are {groups!r}", "make them metarun.data.ExampleGroups.")
    numbers = np.asarray(groups.numbers)
    if numbers.shape != (size,) or numbers.dtype != np.int64:
        shown = f"{numbers.dtype} of shape {numbers.shape}"
        raise UserError(f"{where} have numbers of {shown} but there are {size:,} examples", "give one int64 to each.")
    if size and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(groups.names):
        raise UserError(f"{where} have a number below 0, or not below {len(groups.names)}", "name each group.")
