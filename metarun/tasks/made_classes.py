"""Classes of tasks that are made without labels: single examples (UMTRA) or clusters of an embedding (CACTUs)."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.config.key_origins import knob, set_by
from metarun.data import Examples, Split
from metarun.errors import UserError, counted
from metarun.tasks.batch import TaskShape
from metarun.tasks.sampling import ClassGroups

LABELS = ("classes", "none", "clusters")  # what `task.labels` can be


@dataclass(frozen=True)
class MadeClasses:
    """Classes of a split's examples that do not come from its labels; an example can be in several of them.

    Args:
        members: (places,) int64 examples of the split, by class.
        offsets: (classes + 1,) int64; class c has the members at offsets[c] to offsets[c + 1] - 1.
        groups: of which one has all classes of a task; None: its classes are any.
        hash: a SHA-256 over how they were made; equal hashes mean equal classes.
    """

    members: Tensor
    offsets: NDArray[np.int64]
    groups: ClassGroups | None
    hash: str

    def of(self, examples: Examples) -> Examples:
        """Return a split with these classes; its rows are places of `members`."""
        names = tuple(map(str, range(len(self.offsets) - 1)))
        return replace(examples, offsets=self.offsets, class_names=names)


def single_examples(examples: Examples, shape: TaskShape, name: str, split: Split) -> MadeClasses:
    """Return one class for each example of a split, all members of which are that example.

    So N random examples are N classes (UMTRA, Khodadadeh et al. 2019, https://arxiv.org/abs/1811.11819, section 3).
    The members have to be told apart by augmentation.
    """
    count = len(examples.values)
    _check_enough(shape, count, f"split '{split}' of {name} has {counted(count, 'example')}", "task.labels=none")
    per_class = shape.shot + shape.query
    offsets = np.arange(count + 1, dtype=np.int64) * per_class
    return MadeClasses(torch.arange(count).repeat_interleave(per_class), offsets, None, f"single|{per_class}")


def clusters(labels: NDArray[np.int32], shape: TaskShape, name: str, split: Split) -> MadeClasses:
    """Return the clusters of one or more partitions of a split as classes; a task is of one partition.

    Clusters with fewer examples than a task needs are skipped, as by Hsu et al. 2019 (CACTUs,
    https://arxiv.org/abs/1810.02334, section 2.3); so are partitions with fewer clusters than `shape.way`.

    Args:
        labels: (examples, partitions) the number of the cluster of each example.
        shape: of the tasks.
        name: of the data set.
        split: of it.
    """
    needed = shape.shot + shape.query
    members, sizes, of_partition = [], [0], [0]
    most = 0
    for own in labels.T:
        order = own.argsort(kind="stable")
        counts = np.bincount(own)
        large = counts >= needed
        most = max(most, int(large.sum()))
        if large.sum() < shape.way:
            continue
        members.append(order[large[own[order]]])
        sizes += counts[large].tolist()
        of_partition.append(of_partition[-1] + int(large.sum()))
    found = f"no partition of split '{split}' of {name} has more than {counted(most, 'cluster')} of {needed} examples"
    _check_enough(shape, most, found, "task.labels=clusters", "task.clusters")
    groups = ClassGroups(torch.arange(of_partition[-1]), torch.tensor(of_partition))
    digest = hashlib.sha256(f"{labels.shape}|{needed}|{shape.way}|".encode() + np.ascontiguousarray(labels).tobytes())
    offsets = np.cumsum(sizes, dtype=np.int64)
    return MadeClasses(torch.from_numpy(np.concatenate(members)).long(), offsets, groups, digest.hexdigest())


def _check_enough(shape: TaskShape, count: int, found: str, labels: str, *keys: str) -> None:
    if shape.way > count:
        change = "".join(f" or `{key}`" for key in keys)
        raise UserError(
            f"way={shape.way} but {found}, of which {labels}{set_by('task.labels')} makes classes",
            f"lower {shape.knob('way')}{change}.",
        )


def check_labels(labels: object) -> str:
    """Return what `task.labels` is."""
    if labels not in LABELS:
        raise UserError(f"task.labels={labels}{set_by('task.labels')} is not one of {', '.join(LABELS)}.")
    return str(labels)


def without_labels(shape: TaskShape, labels: str) -> TaskShape:
    """Return the shape of tasks whose classes are made; without how classes are grouped, since that is a label."""
    if shape.smallest is not None:
        raise UserError(
            f"{shape.sizes} but tasks with task.labels={labels}{set_by('task.labels')} have one size",
            "give numbers, not ranges; `metarun test` takes ranges.",
        )
    return replace(shape, within=None, across=None, imbalance=None)


def check_drawn(shape: TaskShape, labels: str) -> None:
    """Raise a UserError if meta-training tasks are to be drawn by groups of labelled classes or examples."""
    for name in ("within", "across", "imbalance"):
        if (value := getattr(shape, name)) is not None:
            raise UserError(
                f"{shape.key(name)}={value}{set_by(shape.key(name))} needs classes but "
                f"{knob('task.labels', labels)} makes tasks without them",
                f"set `{shape.key(name)}=null`.",
            )
