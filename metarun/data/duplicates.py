"""Find identical examples in a data set, across splits (test examples seen in training) and within them."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.data.examples import SPLITS, Examples, Split, pieces
from metarun.errors import UserError, counted
from metarun.system.hash_cache import read_cache, write_cache
from metarun.system.paths import data_root

log = logging.getLogger(__name__)

Splits = Mapping[Split, Examples]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """How many contents occur more than once in a data set.

    Args:
        across_splits: contents in more than one split, so that meta-test may have been seen in training.
        across_classes: contents in more than one class of a split, which no method can tell apart.
        within_a_class: contents more than once in one class, so that a query may be its own support.
        between: two such examples in different splits, as text; "" if there are none.
        between_classes: two such examples in different classes of one split, likewise.
    """

    across_splits: int = 0
    across_classes: int = 0
    within_a_class: int = 0
    between: str = ""
    between_classes: str = ""


@dataclass(frozen=True)
class _Index:
    """The content, split and class of each example, as numbers, in the order of `SPLITS`; all (examples,)."""

    content: Numbers
    of_split: Numbers
    of_class: Numbers


def find_duplicates(
    name: str, identity: str, load: Callable[[], Splits | None], test_only: bool = False
) -> Duplicates | None:
    """Compare all examples by a hash of their bytes; the answer is cached.

    Args:
        name: of the data set, for messages.
        identity: identifies the content of all splits.
        load: returns the splits if no answer is cached; None if they are not available, then there is no answer.
        test_only: count only contents that are in meta-test, because the other splits are of another data set.

    Raises:
        UserError: a class of one split is a class of another split under another name, with the same examples.
    """
    asked = f"{identity}|of test alone" if test_only else identity
    path = data_root() / "duplicates" / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"
    if (found := _cached(path)) is None and (splits := load()) is not None:
        index = _index(splits)
        _check_no_class_twice(name, splits, index)
        found = _count(splits, index, test_only)
        write_cache(path, asdict(found))
    return found


def log_duplicates(name: str, found: Duplicates, trained_elsewhere: bool = False) -> None:
    """Log the clauses of `describe_duplicates` as warnings; the arguments are the same."""
    for clause in describe_duplicates(name, found, trained_elsewhere):
        log.warning("%s", clause)
    if found.within_a_class:
        log.info("%s found more than once in a class of %s", counted(found.within_a_class, "example"), name)


def describe_duplicates(name: str, found: Duplicates, trained_elsewhere: bool = False) -> Iterator[str]:
    """Yield a warning, one clause each, about identical examples.

    Args:
        name: of the data set.
        found: the duplicates within it, or with `trained_elsewhere` those of its meta-test.
        trained_elsewhere: the model was trained on other data, whose examples `found` includes.
    """
    if count := found.across_splits:
        seen = (
            f"of {name} {'was' if count == 1 else 'were'} trained on"
            if trained_elsewhere
            else f"found in more than one split of {name}"
        )
        yield (
            f"{counted(count, 'example')} {seen}{_such(count)} {found.between}; meta-test may have been seen in "
            "training, and the results say so"
        )
    if count := found.across_classes:
        yield (
            f"{counted(count, 'example')} found in more than one class of a split of {name}{_such(count)} "
            f"{found.between_classes}; no method can tell which class {'it is' if count == 1 else 'they are'}, "
            "and the results say so"
        )


def _such(count: int) -> str:
    return ":" if count == 1 else ", such as"


def _index(splits: Splits) -> _Index:
    hashes, of_split, of_class = [], [], []
    classes = 0
    for number, split in enumerate(SPLITS):
        examples = splits[split]
        hashes.append(np.fromiter(_hashes(examples), np.uint64, len(examples.values)))
        of_split.append(np.full(len(examples.values), number))
        of_class.append(classes + np.repeat(np.arange(len(examples.class_names)), examples.sizes))
        classes += len(examples.class_names)
    _, content = np.unique(np.concatenate(hashes), return_inverse=True)
    return _Index(content, np.concatenate(of_split), np.concatenate(of_class))


def _hashes(examples: Examples) -> Iterator[int]:
    """Yield a 64-bit hash of each example; two of a million collide with a probability of 3e-8."""
    for piece in pieces(examples.values):
        for example in piece:
            yield int.from_bytes(hashlib.blake2b(example.tobytes(), digest_size=8).digest(), "little")


def _count(splits: Splits, index: _Index, test_only: bool) -> Duplicates:
    """Count the contents that occur more than once."""
    counted_rows = (index.of_split == SPLITS.index("test")) | (not test_only)  # (examples,)
    many = int(index.content.max()) + 1
    in_splits = np.bincount(_pairs(index.content, index.of_split)[0])
    across = (in_splits > 1) & (np.bincount(index.content[counted_rows], minlength=many) > 0)
    content, of_class, of_split = (numbers[counted_rows] for numbers in (index.content, index.of_class, index.of_split))
    examples, in_classes, in_counted_splits = (
        np.bincount(each, minlength=many)
        for each in (content, _pairs(content, of_class)[0], _pairs(content, of_split)[0])
    )
    shared = in_classes > in_counted_splits
    between = _in_two_splits(index, int(across.argmax())) if across.any() else []
    between_classes = _in_two_classes(index, int(shared.argmax()), counted_rows) if shared.any() else []
    return Duplicates(
        across_splits=int(across.sum()),
        across_classes=int(shared.sum()),
        within_a_class=int((examples > in_classes).sum()),
        between=" and ".join(_name(splits, index, row) for row in between),
        between_classes=" and ".join(_name(splits, index, row) for row in between_classes),
    )


def _pairs(content: Numbers, of: Numbers) -> tuple[Numbers, Numbers]:
    """Return the distinct pairs of contents and splits (or classes), ordered by content."""
    width = int(of.max()) + 1
    pairs = np.unique(content * width + of)
    return pairs // width, pairs % width


def _in_two_splits(index: _Index, content: int) -> list[int]:
    """Return the first example with a content, and the first one in the last split that has it."""
    rows = (index.content == content).nonzero()[0]
    last = (index.of_split[rows] == index.of_split[rows[-1]]).argmax()
    return [int(rows[0]), int(rows[last])]


def _in_two_classes(index: _Index, content: int, counted_rows: NDArray[np.bool_]) -> list[int]:
    """Return two examples with a content in different classes of one split."""
    rows = ((index.content == content) & counted_rows).nonzero()[0]
    of_splits = (rows[index.of_split[rows] == split] for split in np.unique(index.of_split[rows]))
    two = ((inside[0], inside[(index.of_class[inside] != index.of_class[inside[0]]).argmax()]) for inside in of_splits)
    return next([int(one), int(other)] for one, other in two if one != other)


def _name(splits: Splits, index: _Index, row: int) -> str:
    split = SPLITS[index.of_split[row]]
    examples = splits[split]
    within = row - int((index.of_split == index.of_split[row]).argmax())
    c = int(np.searchsorted(examples.offsets, within, side="right")) - 1
    return f"number {within - examples.offsets[c] + 1} of class '{examples.class_names[c]}' in '{split}'"


def _check_no_class_twice(name: str, splits: Splits, index: _Index) -> None:
    """Raise a UserError for a class in two splits under two names; `check_disjoint` finds those under one name."""
    names = [(split, class_name) for split in SPLITS for class_name in splits[split].class_names]
    content, of_class = _pairs(index.content, index.of_class)
    sizes = np.bincount(of_class)
    in_splits = np.bincount(_pairs(index.content, index.of_split)[0])
    shared: Counter[tuple[int, int]] = Counter()
    begins = np.searchsorted(content, (in_splits > 1).nonzero()[0])
    for begin in begins:
        end = np.searchsorted(content, content[begin], side="right")
        shared.update(combinations(of_class[begin:end].tolist(), 2))
    for (one, other), count in shared.items():
        (split, class_name), (other_split, other_name) = names[one], names[other]
        if split != other_split and 1 < count == min(sizes[one], sizes[other]):
            raise UserError(
                f"class '{class_name}' in '{split}' of {name} and class '{other_name}' in '{other_split}' have the "
                f"same {count} examples",
                "put each class into one split.",
            )


def _cached(path: Path) -> Duplicates | None:
    if not (answers := read_cache(path)):
        return None
    try:
        found = Duplicates(**answers)  # type: ignore[arg-type]  # an untrusted file
        unnamed = found.across_classes > 0 and not found.between_classes  # from an older version
    except TypeError:
        return None
    return None if unnamed else found
