"""Which classes of a user's own data are meta-train, meta-val and meta-test: by a file, by a column, or by a seed."""

import hashlib
from collections.abc import Mapping, Sequence

from metarun.data.examples import SPLITS, LeftOut, Split
from metarun.data.splits import split_classes, unlisted
from metarun.errors import UserError, counted

SHARES: Mapping[Split, float] = {"train": 0.64, "val": 0.16, "test": 0.2}
_LEAST = 2  # classes of a split, of which tasks are made


def choose_splits(
    name: str, classes: Sequence[str], split: str | None, seed: int, by_column: Mapping[str, str] | None = None
) -> tuple[dict[Split, list[str]], LeftOut]:
    """Return the classes of each split, and what is in none.

    Args:
        name: of the data set, for messages.
        classes: all of them.
        split: a file of class names, see `metarun.data.splits`; None: by `by_column`, or by `seed`.
        seed: of a split by chance, in the shares of `SHARES`.
        by_column: the split of each class as a column says it.

    Raises:
        UserError: there are too few classes, the file is wrong, or the column has another word.
    """
    if split is not None:
        lists = split_classes(name, split, classes, {})
        return lists, unlisted(split, lists, classes)
    if by_column is not None:
        return _by_column(name, classes, by_column), LeftOut()
    return split_by_seed(name, classes, seed), LeftOut()


def split_by_seed(name: str, classes: Sequence[str], seed: int) -> dict[Split, list[str]]:
    """Return the classes of each split by chance: a class's place depends on its own name and the seed alone.

    Raises:
        UserError: there are too few classes to give each split two.
    """
    if len(classes) < _LEAST * len(SPLITS):
        raise UserError(
            f"{name} has {counted(len(classes), 'class')} but meta-train, meta-val and meta-test need {_LEAST} each",
            "add classes.",
        )
    shuffled = sorted(classes, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest())
    held_out = {split: max(_LEAST, round(SHARES[split] * len(classes))) for split in ("val", "test")}
    val, test = held_out["val"], held_out["test"]
    chosen = {"test": shuffled[:test], "val": shuffled[test : test + val], "train": shuffled[test + val :]}
    order = {class_name: place for place, class_name in enumerate(classes)}
    return {split: sorted(chosen[split], key=order.__getitem__) for split in SPLITS}


def _by_column(name: str, classes: Sequence[str], by_column: Mapping[str, str]) -> dict[Split, list[str]]:
    lists: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for class_name in classes:
        word = by_column[class_name]
        if word not in SPLITS:
            raise UserError(
                f"class '{class_name}' of {name} has the split {word!r}", "write train, val or test into the column."
            )
        lists[word].append(class_name)
    if missing := [split for split in SPLITS if not lists[split]]:
        raise UserError(f"the column of splits of {name} gives '{missing[0]}' no class", "give every split some.")
    return lists
