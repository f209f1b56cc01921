"""Equal examples in a data set: between its splits, where meta-test has been seen in training, and within them."""

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
    """How many contents stand more than once in a data set.

    Args:
        across_splits: contents in more than one split; what is learned of them is no news in meta-test.
        across_classes: contents in more than one class of a split: of these no method can tell which.
        within_a_class: contents more than once in one class, so that a query may be its own support.
        between: an example of two in different splits, for people; "" where there are none.
        between_classes: an example of two in different classes of one split, likewise.
    """

    across_splits: int = 0
    across_classes: int = 0
    within_a_class: int = 0
    between: str = ""
    between_classes: str = ""


@dataclass(frozen=True)
class _Places:
    """Of each example in the order of `SPLITS`: a number for its content, its split and its class; all (examples,)."""

    content: Numbers
    of_split: Numbers
    of_class: Numbers


def find_duplicates(
    name: str, identity: str, load: Callable[[], Splits | None], test_alone: bool = False
) -> Duplicates | None:
    """Compare all examples by a hash of their bytes; once for each content of a data set, then the answer is kept.

    Args:
        name: of the data set, for messages.
        identity: stands for the content of all splits.
        load: returns the splits, called where no answer is kept; None: they cannot be had, and there is no answer.
        test_alone: count only contents that are in meta-test, since the other splits are of another data set.

    Raises:
        UserError: a class of one split is, under another name, a class of another: all its examples are there too.
    """
    asked = f"{identity}|of test alone" if test_alone else identity
    path = data_root() / "duplicates" / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"
    if (found := _kept(path)) is None and (splits := load()) is not None:
        places = _places(splits)
        _check_no_class_twice(name, splits, places)
        found = _count(splits, places, test_alone)
        write_cache(path, asdict(found))
    return found


def tell(name: str, found: Duplicates, of_other_data: bool = False) -> None:
    """Log the clauses of `describe_duplicates`, whose arguments these are, as warnings."""
    for clause in describe_duplicates(name, found, of_other_data):
        log.warning("%s", clause)
    if found.within_a_class:
        log.info("%s more than once in a class of %s", counted(found.within_a_class, "example"), name)


def describe_duplicates(name: str, found: Duplicates, of_other_data: bool = False) -> Iterator[str]:
    """Yield what there is to warn of in equal examples, each a clause.

    Args:
        name: of the data set.
        found: in it; or in its meta-test, and between that and what was trained on.
        of_other_data: it is the latter.
    """
    if count := found.across_splits:
        seen = (
            f"of {name} {'was' if count == 1 else 'were'} trained on"
            if of_other_data
            else f"in more than one split of {name}"
        )
        yield (
            f"{counted(count, 'example')} {seen}{_such(count)} {found.between}; meta-test may have been seen in "
            "training, and the row says so"
        )
    if count := found.across_classes:
        yield (
            f"{counted(count, 'example')} in more than one class of a split of {name}{_such(count)} "
            f"{found.between_classes}; no method can tell of which class {'it is' if count == 1 else 'they are'}, and "
            "the row says so"
        )


def _such(count: int) -> str:
    return ":" if count == 1 else ", such as"


def _places(splits: Splits) -> _Places:
    hashes, of_split, of_class = [], [], []
    classes = 0
    for number, split in enumerate(SPLITS):
        examples = splits[split]
        hashes.append(np.fromiter(_hashes(examples), np.uint64, len(examples.values)))
        of_split.append(np.full(len(examples.values), number))
        of_class.append(classes + np.repeat(np.arange(len(examples.class_names)), examples.sizes))
        classes += len(examples.class_names)
    _, content = np.unique(np.concatenate(hashes), return_inverse=True)
    return _Places(content, np.concatenate(of_split), np.concatenate(of_class))


def _hashes(examples: Examples) -> Iterator[int]:
    """Yield 64 bits for each example: among a million, two different ones agree with a probability of 3e-8."""
    for piece in pieces(examples.values):
        for example in piece:
            yield int.from_bytes(hashlib.blake2b(example.tobytes(), digest_size=8).digest(), "little")


def _count(splits: Splits, places: _Places, test_alone: bool) -> Duplicates:
    """Count contents, each once."""
    judged = (places.of_split == SPLITS.index("test")) | (not test_alone)  # (examples,)
    many = int(places.content.max()) + 1
    in_splits = np.bincount(_pairs(places.content, places.of_split)[0])
    across = (in_splits > 1) & (np.bincount(places.content[judged], minlength=many) > 0)
    content, of_class, of_split = (numbers[judged] for numbers in (places.content, places.of_class, places.of_split))
    examples, in_classes, in_judged_splits = (
        np.bincount(each, minlength=many)
        for each in (content, _pairs(content, of_class)[0], _pairs(content, of_split)[0])
    )
    shared = in_classes > in_judged_splits
    between = _in_two_splits(places, int(across.argmax())) if across.any() else []
    between_classes = _in_two_classes(places, int(shared.argmax()), judged) if shared.any() else []
    return Duplicates(
        across_splits=int(across.sum()),
        across_classes=int(shared.sum()),
        within_a_class=int((examples > in_classes).sum()),
        between=" and ".join(_name(splits, places, row) for row in between),
        between_classes=" and ".join(_name(splits, places, row) for row in between_classes),
    )


def _pairs(content: Numbers, of: Numbers) -> tuple[Numbers, Numbers]:
    """Return the different pairs of a content and what it is of, in the order of contents."""
    width = int(of.max()) + 1
    pairs = np.unique(content * width + of)
    return pairs // width, pairs % width


def _in_two_splits(places: _Places, content: int) -> list[int]:
    """Return the first place of a content, and its first one in the last split that has it."""
    rows = (places.content == content).nonzero()[0]
    last = (places.of_split[rows] == places.of_split[rows[-1]]).argmax()
    return [int(rows[0]), int(rows[last])]


def _in_two_classes(places: _Places, content: int, judged: NDArray[np.bool_]) -> list[int]:
    """Return two places of a content that are in different classes of one split."""
    rows = ((places.content == content) & judged).nonzero()[0]
    of_splits = (rows[places.of_split[rows] == split] for split in np.unique(places.of_split[rows]))
    two = (
        (inside[0], inside[(places.of_class[inside] != places.of_class[inside[0]]).argmax()]) for inside in of_splits
    )
    return next([int(one), int(other)] for one, other in two if one != other)


def _name(splits: Splits, places: _Places, row: int) -> str:
    split = SPLITS[places.of_split[row]]
    examples = splits[split]
    within = row - int((places.of_split == places.of_split[row]).argmax())
    c = int(np.searchsorted(examples.offsets, within, side="right")) - 1
    return f"number {within - examples.offsets[c] + 1} of class '{examples.class_names[c]}' in '{split}'"


def _check_no_class_twice(name: str, splits: Splits, places: _Places) -> None:
    """Raise a UserError for a class that goes by two names: what `check_disjoint` finds for those that go by one."""
    names = [(split, class_name) for split in SPLITS for class_name in splits[split].class_names]
    content, of_class = _pairs(places.content, places.of_class)
    sizes = np.bincount(of_class)
    in_splits = np.bincount(_pairs(places.content, places.of_split)[0])
    shared: Counter[tuple[int, int]] = Counter()
    begins = np.searchsorted(content, (in_splits > 1).nonzero()[0])
    for begin in begins:
        end = np.searchsorted(content, content[begin], side="right")
        shared.update(combinations(of_class[begin:end].tolist(), 2))
    for (one, other), count in shared.items():
        (split, class_name), (other_split, other_name) = names[one], names[other]
        if split != other_split and 1 < count == min(sizes[one], sizes[other]):
            raise UserError(
                f"class '{class_name}' in '{split}' of {name} and class '{other_name}' in '{other_split}' hold the "
                f"same {count} examples",
                "give each class to one split.",
            )


def _kept(path: Path) -> Duplicates | None:
    if not (answers := read_cache(path)):
        return None
    try:
        found = Duplicates(**answers)  # type: ignore[arg-type]  # a file of anybody's
        unnamed = found.across_classes > 0 and not found.between_classes  # an older version's
    except TypeError:
        return None
    return None if unnamed else found
