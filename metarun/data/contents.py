"""What a data set holds and what was left out of it, in a line: every run begins with it."""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from metarun.data.examples import SPLITS, ClassDataset, LeftOut, Split
from metarun.data.sinusoid import Sinusoid
from metarun.errors import counted

log = logging.getLogger(__name__)

Offsets = NDArray[np.int64]


def describe(data: ClassDataset | Sinusoid) -> str:
    """Return what a data set holds: "train 64 classes of 600 examples, val 16 of 600, test 20 of 31 to 800"."""
    if isinstance(data, ClassDataset):
        return describe_splits({split: data.splits[split].offsets for split in SPLITS}, data.left_out)
    says = getattr(data, "check", None)  # a family of the user's own need not have one
    return str(says()) if callable(says) else "drawn as it is needed"


def describe_splits(splits: Mapping[Split, Offsets], left_out: LeftOut) -> str:
    """Return the line of `describe`.

    Args:
        splits: the offsets of each, as of `Examples`.
        left_out: of which the line says what a list left out; the rest is for warnings.
    """
    told: list[str] = []
    for split, offsets in splits.items():
        sizes = np.diff(offsets)
        smallest, largest = int(sizes.min()), int(sizes.max())
        least = "" if smallest == largest else f"{smallest:,} to "
        if told:
            told.append(f"{split} {len(sizes):,} of {least}{largest:,}")
        else:  # the words are said once
            told.append(f"{split} {counted(len(sizes), 'class')} of {least}{counted(largest, 'example')}")
    return "; not used: ".join([", ".join(told), *([", ".join(left_out.by_choice)] if left_out.by_choice else [])])


def tell_contents(data: ClassDataset | Sinusoid) -> None:
    """Log what a data set holds, and warn of what was left out of it though nobody said so."""
    log.info("data: %s", describe(data))
    for clause in data.left_out.unasked if isinstance(data, ClassDataset) else ():
        log.warning("%s: %s", data.name, clause)
