"""Split the classes of a user's data into meta-train, meta-val and meta-test by a file, a column or a seed."""

import hashlib
from collections.abc import Mapping, Sequence

from metarun.data.examples import SPLITS, Skipped, Split
from metarun.data.splits import split_classes, unlisted
from metarun.errors import UserError, counted

SHARES: Mapping[Split, float] = {"train": 0.64, "val": 0.16, "test": 0.2}
_MIN_CLASSES = 2  # in a split, for tasks


def choose_splits(
    name: str,
    classes: Sequence[str],
    split: str | None,
    seed: int,
    by_column: Mapping[str, str] | None = None,
    noun: str = "class",
) -> tuple[dict[Split, list[str]], Skipped]:
    """Return the classes of each split, and what is in no split.

    Args:
        name: of the data set, for messages.
        classes: of all splits.
        split: a file of class names, see `metarun.data.splits`; None: use `by_column`, or `seed`.
        seed: of a random split with the proportions of `SHARES`.
        by_column: the split of each class according to a column.
        noun: what messages call a class.

    Raises:
        UserError: there are too few classes, or the file or the column is invalid.
    """
    if split is not None:
        lists = split_classes(name, split, classes, {})
        return lists, unlisted(split, lists, classes)
    if by_column is not None:
        return _by_column(name, classes, by_column, noun), Skipped()
    return split_by_seed(name, classes, seed, noun), Skipped()


def split_by_seed(name: str, classes: Sequence[str], seed: int, noun: str = "class") -> dict[Split, list[str]]:
    """Return a random split of the classes, determined by a hash of each name and the seed.

    Raises:
        UserError: there are fewer than two classes per split.
    """
    if len(classes) < _MIN_CLASSES * len(SPLITS):
        raise UserError(
            f"{name} has {counted(len(classes), noun)} but meta-train, meta-val and meta-test need {_MIN_CLASSES} each",
            "add some.",
        )
    held_out = {split: max(_MIN_CLASSES, round(SHARES[split] * len(classes))) for split in ("val", "test")}
    return draw_splits(classes, held_out["val"], held_out["test"], seed)


def draw_splits(classes: Sequence[str], val: int, test: int, seed: int) -> dict[Split, list[str]]:
    """Return a random split with `val` and `test` classes held out, determined by a hash of each name and the seed."""
    shuffled = sorted(classes, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest())
    chosen = {"test": shuffled[:test], "val": shuffled[test : test + val], "train": shuffled[test + val :]}
    order = {class_name: i for i, class_name in enumerate(classes)}
    return {split: sorted(chosen[split], key=order.__getitem__) for split in SPLITS}


def _by_column(name: str, classes: Sequence[str], by_column: Mapping[str, str], noun: str) -> dict[Split, list[str]]:
    lists: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for class_name in classes:
        split = by_column[class_name]
        if split not in SPLITS:
            raise UserError(
                f"{noun} '{class_name}' of {name} has the split {split!r}", "write train, val or test into the column."
            )
        lists[split].append(class_name)
    if missing := [split for split in SPLITS if not lists[split]]:
        raise UserError(f"the split column of {name} has no {noun} in '{missing[0]}'", "add one.")
    return lists
