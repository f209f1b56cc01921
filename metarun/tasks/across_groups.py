"""Tasks whose support set is of one group of examples and whose queries are of another, such as two speakers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from metarun.config.key_origins import source_key
from metarun.data import ClassDataset, Split
from metarun.data.example_groups import ExampleGroups
from metarun.errors import UserError, counted
from metarun.tasks.batch import TaskShape
from metarun.tasks.class_groups import no_such_groups
from metarun.tasks.imbalance import Shares, most_shots
from metarun.tasks.rng import choose, split_key
from metarun.tasks.sampling import ClassGroups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AcrossGroups:
    """Endless tasks, each of a pair of groups: support examples are of the first, queries of the second.

    Every ordered pair of groups that has enough classes is equally likely, and so are the classes that have enough
    examples in both. With groups of classes, one of these is drawn first.

    Args:
        order: (examples,) int64 rows, by class and then by group.
        starts: (classes, groups) int64, where the rows of a class in a group start in `order`.
        counts: (classes, groups) int64, how many there are.
        support: (classes, groups) bool, whether a class has enough support examples in a group.
        queries: likewise for queries.
        class_group: (classes,) int64 the group of each class; -1: its group makes no task.
        pairs: (pairs, 3) int64: a group of classes, a group of support examples, one of queries; sorted.
        pair_offsets: (groups of classes + 1,) int64, where the pairs of each start.
        way: classes in a task.
        shot: support examples of each; with `shares` their mean.
        query: query examples of each; with `shares` their mean.
        key: what the choice is a pure function of, with a task's number.
        shares: of unequal shots or queries; None: equal ones.
    """

    order: Tensor
    starts: Tensor
    counts: Tensor
    support: Tensor
    queries: Tensor
    class_group: Tensor
    pairs: Tensor
    pair_offsets: Tensor
    way: int
    shot: int
    query: int
    key: int
    shares: Shares | None = None

    def rows(self, numbers: Tensor) -> Tensor:
        """Return (count, way, shot + query) the examples of tasks by their numbers (count,); see `WithReplacement`."""
        keys = split_key(self.key, numbers)
        pair = self._pairs_of(keys)
        able = self.support.T[pair[:, 1]] & self.queries.T[pair[:, 2]] & (self.class_group == pair[:, :1])
        so_far = able.cumsum(1)  # (count, classes)
        classes = torch.searchsorted(so_far, choose(keys, so_far[:, -1], self.way) + 1)  # (count, way)
        class_keys = split_key(~keys[:, None], torch.arange(self.way, device=keys.device))
        sides = classes * self.counts.shape[1] + pair[:, 1:2], classes * self.counts.shape[1] + pair[:, 2:]
        (support_starts, query_starts) = (self.starts.flatten()[side] for side in sides)
        (support_counts, query_counts) = (self.counts.flatten()[side] for side in sides)
        query_keys = split_key(class_keys, 2)
        if self.shares is None:
            chosen = choose(class_keys, support_counts, self.shot)
            queries = choose(query_keys, query_counts, self.query)
        else:
            shots = self.shares.shots(keys, support_counts, support_counts)
            chosen = choose(class_keys, support_counts, most_shots(self.way, self.shot, self.shares.how), shots)
            share = self.shares.queries(keys, query_counts)
            queries = choose(query_keys, query_counts, self.shares.most_queries(self.way), share)
        rows = [
            self.order[starts[..., None] + side.clamp(min=0)].where(side >= 0, -1)
            for starts, side in ((support_starts, chosen), (query_starts, queries))
        ]
        return torch.cat(rows, -1)

    def keys(self, numbers: Tensor) -> Tensor:
        """See `Endless`; not the keys that pairs are drawn from."""
        return split_key(split_key(self.key, numbers), 6)

    def _pairs_of(self, keys: Tensor) -> Tensor:
        """Return (tasks, 3) the pair of each task: of a group of classes, each equally likely, one of its pairs."""
        sizes = self.pair_offsets.diff()
        groups = choose(split_key(keys, 2), torch.full_like(keys, len(sizes)), 1)[..., 0]
        within = choose(split_key(keys, 3), sizes[groups], 1)[..., 0]
        return self.pairs[self.pair_offsets[groups] + within]

    def resized(self, shape: TaskShape) -> Self:
        """Return the same choice for tasks of a smaller way or shot, from the pairs and the classes of the larger."""
        shares = None if self.shares is None else self.shares.resized(shape.shot, shape.query)
        return replace(self, way=shape.way, shot=shape.shot, query=shape.query, shares=shares)

    def on(self, device: torch.device) -> Self:
        """Return the same choice made on a device."""
        moved: dict[str, Any] = {name: v.to(device) for name, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def across_groups(
    data: ClassDataset, split: Split, shape: TaskShape, key: int, class_groups: ClassGroups | None
) -> AcrossGroups:
    """Return the choice of tasks across the groups that `shape.across` names.

    Classes without two groups that have enough examples are skipped, which is logged.

    Args:
        data: the data set.
        split: of it.
        shape: of the tasks.
        key: see `AcrossGroups`.
        class_groups: the groups of classes that make tasks; None: all classes are one.

    Raises:
        UserError: the data set has no such groups, or no pair of groups has enough classes with enough examples.
    """
    examples = data.splits[split]
    groups = _groups(data, shape)[split]
    classes, of_group = len(examples.class_names), len(groups.names)
    cell = np.repeat(np.arange(classes), examples.sizes) * of_group + groups.numbers
    counts = torch.from_numpy(np.bincount(cell, minlength=classes * of_group).astype(np.int64))
    order = torch.from_numpy(cell.argsort(kind="stable"))
    starts = (counts.cumsum(0) - counts).reshape(classes, of_group)
    counts = counts.reshape(classes, of_group)
    support, queries = counts >= shape.shot, counts >= shape.query
    class_group = torch.zeros(classes, dtype=torch.int64)
    if class_groups is not None:
        class_group.fill_(-1)
        class_group[class_groups.classes] = torch.arange(len(class_groups)).repeat_interleave(
            class_groups.offsets.diff()
        )
    found = []
    for number in range(int(class_group.max()) + 1):
        own = class_group == number
        common = (support[own].float().T @ queries[own].float()).fill_diagonal_(0)  # (groups, groups) classes
        if len(pairs := (common >= shape.way).nonzero()):
            found.append(torch.cat([torch.full_like(pairs[:, :1], number), pairs], 1))
    if not found:
        raise _none_error(data, split, shape, groups, counts)
    _log_skipped(data, split, shape, support, queries)
    offsets = torch.tensor([0, *map(len, found)]).cumsum(0)
    shares = Shares.of(shape.shot, shape.query, shape.imbalance, int(counts.max()))
    sizes = shape.way, shape.shot, shape.query
    tables = order, starts, counts, support, queries, class_group, torch.cat(found), offsets
    return AcrossGroups(*tables, *sizes, key, shares)


def _groups(data: ClassDataset, shape: TaskShape) -> Mapping[Split, ExampleGroups]:
    assert shape.across is not None
    if shape.across not in data.example_groups:
        raise no_such_groups(shape, "across", f"examples of {data.name}", data.example_groups)
    return data.example_groups[shape.across]


def _none_error(data: ClassDataset, split: Split, shape: TaskShape, groups: ExampleGroups, counts: Tensor) -> UserError:
    """Return the error for a split of which no two groups make a task; it names those that come nearest."""
    kind, names, off = shape.across, data.splits[split].class_names, f"`{source_key(shape.key('across'))}=null`"
    where = f"split '{split}' of {data.name}"
    largest = int(counts.argmax())
    c, g = divmod(largest, counts.shape[1])
    most = int(counts.max())
    for name in ("shot", "query"):
        if getattr(shape, name) > most:
            return UserError(
                f"{name}={getattr(shape, name)} but no class of {where} has that many examples by one {kind}: "
                f"'{names[c]}' has {most} by '{groups.names[g]}'",
                f"lower {shape.knob(name)} or set {off}.",
            )
    common = ((counts >= shape.shot).float().T @ (counts >= shape.query).float()).fill_diagonal_(0)
    if not (best := int(common.max())):
        return UserError(
            f"no class of {where} has shot={shape.shot} examples by one {kind} and query={shape.query} by another: "
            f"'{names[c]}' has {most} by '{groups.names[g]}' and at most {_second(counts[c])} by another",
            f"lower {shape.knob('shot', 'query')}, use another split, or set {off}.",
        )
    one, other = (groups.names[i] for i in divmod(int(common.argmax()), len(groups.names)))
    within = "" if shape.within is None else f" and of one {shape.within}"
    return UserError(
        f"way={shape.way} but no two groups by {kind} of {where} have that many classes in common{within}: "
        f"'{one}' and '{other}' have {counted(best, 'class')} with shot={shape.shot} and query={shape.query} examples",
        f"lower {shape.knob('way', 'shot', 'query')}, or set {off}.",
    )


def _second(counts: Tensor) -> int:
    return int(counts.sort(descending=True).values[1]) if len(counts) > 1 else 0


def _log_skipped(data: ClassDataset, split: Split, shape: TaskShape, support: Tensor, queries: Tensor) -> None:
    # Of the groups that can be support and those that can be queries, two must differ.
    both = (support & queries).sum(1)
    able = support.any(1) & queries.any(1) & ~((support.sum(1) == 1) & (queries.sum(1) == 1) & (both == 1))
    if not able.all():
        names = data.splits[split].class_names
        log.info(
            "skipped %s of meta-%s, such as '%s', without shot=%d examples by one %s and query=%d by another",
            *(counted(int((~able).sum()), "class"), split, names[int((~able).int().argmax())]),
            *(shape.shot, shape.across, shape.query),
        )
