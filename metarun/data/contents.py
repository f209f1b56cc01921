"""Describe the content of a data set, and what was skipped, in one line that every run logs."""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from metarun.data.environments.family import EnvironmentFamily
from metarun.data.examples import SPLITS, ClassDataset, Skipped, Split
from metarun.data.functions.family import FunctionFamily
from metarun.data.mixed_datasets import MixedDatasets
from metarun.data.tables.entities import EntityDataset
from metarun.errors import counted

log = logging.getLogger(__name__)

Offsets = NDArray[np.int64]


Loaded = ClassDataset | EntityDataset | MixedDatasets | FunctionFamily | EnvironmentFamily


def describe(data: Loaded) -> str:
    """Return the content of a data set: "train 64 classes of 600 examples, val 16 of 600, test 20 of 31 to 800"."""
    if isinstance(data, ClassDataset):
        return describe_splits({split: data.splits[split].offsets for split in SPLITS}, data.skipped)
    if isinstance(data, EntityDataset):
        offsets = {split: data.rows.splits[split].offsets for split in SPLITS}
        inputs = next(iter(data.inputs.values())).shape[0]
        counts = describe_splits(offsets, data.skipped, "entity", "row")
        return f"{counts}; {counted(inputs, 'input')}, {counted(data.outputs, 'target')}"
    if isinstance(data, MixedDatasets):
        return "; ".join(f"{name}: {describe(part)}" for name, part in data.parts.items())
    check = getattr(data, "check", None)  # optional in a user's family
    return str(check()) if callable(check) else "drawn on demand"


def describe_splits(
    splits: Mapping[Split, Offsets], skipped: Skipped, group: str = "class", example: str = "example"
) -> str:
    """Return the line of `describe`.

    Args:
        splits: the offsets of each, as in `Examples`.
        skipped: the line contains what is not listed, but not the warnings.
        group: what a class is called.
        example: what an example is called.
    """
    counts: list[str] = []
    for split, offsets in splits.items():
        sizes = np.diff(offsets)
        smallest, largest = int(sizes.min()), int(sizes.max())
        least = "" if smallest == largest else f"{smallest:,} to "
        if counts:
            counts.append(f"{split} {len(sizes):,} of {least}{largest:,}")
        else:  # only the first split names the units
            counts.append(f"{split} {counted(len(sizes), group)} of {least}{counted(largest, example)}")
    return "; not used: ".join([", ".join(counts), *([", ".join(skipped.unlisted)] if skipped.unlisted else [])])


def log_contents(data: Loaded) -> None:
    """Log the content of a data set, and warnings about what was skipped."""
    log.info("data: %s", describe(data))
    for clause in data.skipped.warnings if isinstance(data, ClassDataset | EntityDataset | MixedDatasets) else ():
        log.warning("%s: %s", data.name, clause)
