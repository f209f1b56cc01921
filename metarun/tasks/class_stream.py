"""Classification tasks, drawn from a data set of classes."""

import copy
import logging
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor

from metarun.config.key_origins import set_by, source_key
from metarun.data import ClassDataset, Examples, Split
from metarun.errors import UserError, counted
from metarun.system.inputs import Inputs, as_tensors, map_inputs, to_device, to_network
from metarun.system.memory import fits_on
from metarun.tasks.across_groups import AcrossGroups, across_groups
from metarun.tasks.batch import TaskBatch, TaskShape
from metarun.tasks.class_groups import groups_that_serve
from metarun.tasks.imbalance import Shares, check_imbalance, most_shots
from metarun.tasks.made_classes import MadeClasses
from metarun.tasks.prefetch import ReadAhead
from metarun.tasks.rng import choose, root_key, split_key
from metarun.tasks.sampling import ClassGroups, Disjoint, Selected, WithReplacement, choose_others, hash_of_rows
from metarun.tasks.stream import StreamSpec

log = logging.getLogger(__name__)

_OTHER_CLASSES, _OUT_OF_SCOPE = 3, 4  # keys of a task's other draws; its classes and examples take 0 to 2

# Of some tasks: support and query as they are stored, the labels of both, and the classes' numbers.
_Stored = tuple[Inputs, Inputs, Tensor, Tensor, Tensor]


class ClassTaskStream:
    """Classification tasks: `way` classes of a split, and of each `shot + query` different examples.

    `shape.within` takes the classes of a task from one group; groups with fewer than `way` classes make no task.
    `shape.across` takes support examples from one group of examples and queries from another, see `AcrossGroups`.
    `shape.imbalance` shares out the support examples or the queries unequally, see `Shares`.
    Disjoint tasks share no example, so there are only so many; others draw theirs with replacement, without end.
    `made` replaces the classes of the split by ones that do not come from its labels.

    A task's classes come in random order, and the place in that order is the label: so labels are permuted per task.
    Examples in memory are held by the device. Those on disk, and those that would fill a GPU, are read while the tasks
    before them are worked on.
    """

    def __init__(self, data: ClassDataset, spec: StreamSpec, made: MadeClasses | None = None) -> None:
        split, shape = spec.split, spec.shape
        examples = data.splits[split] if made is None else made.of(data.splits[split])
        groups = groups_that_serve(data, split, shape) if made is None else made.groups
        _check_can_serve(data.name, split, examples, shape, groups)
        self.shape = shape
        self.floor_vectors = data.floor_vectors
        self.class_count, self.smallest_class = len(examples.class_names), int(examples.sizes.min())
        self.split_identity = f"{data.hash}|{split}" if made is None else f"{data.hash}|{split}|{made.hash}"
        self._device, self._dtype = spec.device, spec.dtype
        self._out_of_scope = data.out_of_scope
        on_host = examples.on_disk or _is_too_large(examples, spec)
        self._on_host = np.asarray(examples.values) if on_host else None
        self._on_device: Inputs = {} if on_host else as_tensors(examples.values, spec.device)
        self._offsets = torch.from_numpy(examples.offsets).to("cpu" if on_host else spec.device)
        self._members = None if made is None else made.members.to(self._offsets.device)
        self.examples = len(examples.values)
        per_class, key = shape.shot + shape.query, root_key(split, spec.seed)
        self._choice: Disjoint | WithReplacement | AcrossGroups | Selected
        if shape.imbalance is not None:
            check_imbalance(shape.imbalance, source_key(shape.key("imbalance")))
        if spec.disjoint:
            _check_can_be_disjoint(shape)
            self._choice = Disjoint.of(self._offsets, shape.way, per_class, key, groups).on(self._offsets.device)
            _check_enough(data.name, split, len(self._choice.table), examples, shape, groups)
        elif shape.across is not None:
            self._choice = across_groups(data, split, shape, key, groups).on(self._offsets.device)
        else:
            own = None if groups is None else groups.on(self._offsets.device)
            shares = Shares.of(shape.shot, shape.query, shape.imbalance, int(examples.sizes.max()))
            self._choice = WithReplacement(self._offsets, shape.way, per_class, key, own, shares)
        self.available = len(self._choice.table) if isinstance(self._choice, Disjoint) else None
        self._gather: Callable[[int, int], _Stored] = ReadAhead(self._look_up) if on_host else self._look_up

    def rows(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Return which examples tasks are made of: (count, way, shot) and (count, way, query) rows of the split.

        With unequal shots or queries there are as many columns as a class can have, and -1 in those beyond a class's.
        """
        return self._sides(self._choice.rows(self._numbers(first, count)))

    def draw(self, first: int, count: int) -> TaskBatch:
        """Return tasks `first` to `first + count - 1`; bytes become floats only here."""
        return self._batch(*self._gather(first, count))

    def draw_numbers(self, numbers: Tensor) -> TaskBatch:
        """Return the tasks with some numbers (tasks,); not of disjoint tasks."""
        assert isinstance(self._choice, WithReplacement | AcrossGroups)
        return self._batch(*self._taken(self._choice.rows(to_device(numbers, self._offsets.device))))

    def _batch(
        self, support: Inputs, query: Inputs, support_labels: Tensor, query_labels: Tensor, classes: Tensor
    ) -> TaskBatch:
        return TaskBatch(
            self._ready(support),
            to_device(support_labels, self._device),
            self._ready(query),
            to_device(query_labels, self._device),
            way=self.shape.way,
            classes=to_device(classes, self._device),
        )

    @property
    def out_of_scope_count(self) -> int:
        """How many examples of no class there are, with which a test can ask what is unknown."""
        return 0 if self._out_of_scope is None else len(self._out_of_scope)

    @property
    def reads_ahead(self) -> bool:
        """Whether examples are read while others are worked on."""
        return self._on_host is not None

    def of_other_classes(self, first: int, count: int, classes: int) -> Inputs:
        """Return (count, classes * query, *shape) queries of classes that are not in the tasks; not of disjoint tasks.

        The classes are any others of the split, whatever group the tasks are within.
        """
        assert not isinstance(self._choice, Disjoint)
        numbers = self._numbers(first, count)
        keys = split_key(self._choice.keys(numbers), _OTHER_CLASSES)
        own = self.class_of(self._choice.rows(numbers).amax(-1))
        others = choose_others(keys, own, self.class_count, classes)
        class_keys = split_key(~keys[:, None], torch.arange(classes, device=keys.device))
        rows = choose(class_keys, self._offsets.diff()[others], self.shape.query)
        return self._ready(self._take((self._offsets[others][..., None] + rows).flatten(1)))

    def out_of_scope(self, first: int, count: int, queries: int) -> Inputs:
        """Return (count, queries, *shape) examples out of scope, which are of no class; not of disjoint tasks."""
        assert not isinstance(self._choice, Disjoint)
        assert self._out_of_scope is not None
        keys = split_key(self._choice.keys(self._numbers(first, count)), _OUT_OF_SCOPE)
        rows = choose(keys, torch.full_like(keys, len(self._out_of_scope)), queries).cpu().numpy()
        return self._ready(as_tensors(self._out_of_scope[rows], self._device))

    def embed(self, embed: Callable[[Inputs], Tensor], at_once: int) -> Tensor:
        """Return the features (examples, features) of the split.

        Args:
            embed: maps (n, *shape) examples to (n, features).
            at_once: the largest n.
        """
        every = torch.arange(self.examples, device=self._offsets.device)
        return torch.cat([embed(self._ready(self._read(rows))) for rows in torch.split(every, at_once)])

    def of_shape(self, shape: TaskShape, numbers: Tensor, read_ahead: bool = True) -> Self:
        """Return the stream of some tasks (tasks,) of a smaller way or shot, numbered anew from 0.

        Task i of it is the task with the number `numbers[i]` of a stream of that shape. Not for disjoint tasks.
        `read_ahead` reads the next ones from the disk meanwhile.
        """
        assert isinstance(self._choice, WithReplacement | AcrossGroups)
        smaller = copy.copy(self)
        smaller.shape = shape
        smaller._choice = Selected(self._choice.resized(shape), to_device(numbers, self._offsets.device))
        ahead = read_ahead and self.reads_ahead
        smaller._gather = ReadAhead(smaller._look_up) if ahead else smaller._look_up
        return smaller

    def of_features(self, features: Tensor) -> Self:
        """Return the stream of the same tasks with features (examples, features) in the examples' place."""
        of_features = copy.copy(self)
        of_features._on_host, of_features._on_device = None, features
        of_features._offsets, of_features._choice = self._offsets.to(self._device), self._choice.on(self._device)
        of_features._members = None if self._members is None else self._members.to(self._device)
        of_features._gather = of_features._look_up
        return of_features

    def _look_up(self, first: int, count: int) -> _Stored:
        return self._taken(self._choice.rows(self._numbers(first, count)))

    def _numbers(self, first: int, count: int) -> Tensor:
        return torch.arange(first, first + count, device=self._offsets.device)

    def _taken(self, rows: Tensor) -> _Stored:
        """Return what `rows` says of some tasks: their examples, the labels, the classes."""
        classes = self.class_of(rows.amax(-1))  # a missing example is -1
        counts = self.shape.way * self.shape.shot, self.shape.way * self.shape.query
        (support, support_labels), (query, query_labels) = map(self._labelled, self._sides(rows), counts)
        return self._take(support), self._take(query), support_labels, query_labels, classes

    def _sides(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the columns of the support examples and those of the queries."""
        columns = most_shots(self.shape.way, self.shape.shot, self.shape.imbalance)
        return rows[..., :columns], rows[..., columns:]

    def _labelled(self, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return (tasks, count) the rows of (tasks, way, columns) that are there, and their labels."""
        labels = torch.arange(self.shape.way, device=rows.device)[:, None].expand(rows.shape).flatten(1)
        rows = rows.flatten(1)
        if self.shape.imbalance is None:
            return rows, labels
        # `rows[rows >= 0]` would wait for the device.
        there_first = (rows < 0).int().argsort(dim=1, stable=True)[:, :count]
        return rows.gather(1, there_first), labels.gather(1, there_first)

    def class_of(self, rows: Tensor) -> Tensor:
        """Return the number, within the split, of the class of each of some rows."""
        return torch.searchsorted(self._offsets.to(rows.device), rows.contiguous(), right=True) - 1

    def _take(self, rows: Tensor) -> Inputs:
        return self._read(rows if self._members is None else self._members[rows])

    def _read(self, rows: Tensor) -> Inputs:
        """Return the examples of the split with some numbers, as they are stored."""
        if self._on_host is not None:
            return as_tensors(np.take(self._on_host, rows.numpy(), axis=0), torch.device("cpu"))

        def take(values: Tensor) -> Tensor:
            found = values.index_select(0, rows.flatten())  # faster than by [rows]
            return found.reshape(*rows.shape, *found.shape[1:])

        return map_inputs(take, self._on_device)

    def _ready(self, stored: Inputs) -> Inputs:
        return to_network(stored, self._device, self._dtype)

    def hash(self, count: int) -> str:
        """Return a SHA-256 over the data set's hash, the setting and the rows of the first `count` tasks."""
        return hash_of_rows(f"{self.split_identity}|{self.shape}", self.rows, count)


def _is_too_large(examples: Examples, spec: StreamSpec) -> bool:
    """Whether examples in memory are too many for the device, which is logged."""
    size = examples.values.nbytes
    if fits_on(spec.device, size):
        return False
    what = "the %.1f GB of meta-%s stay in the computer's memory: device=%s has no room for them"
    log.info(what, size / 1e9, spec.split, spec.device)
    return True


def _check_can_serve(name: str, split: Split, examples: Examples, shape: TaskShape, groups: ClassGroups | None) -> None:
    classes = len(examples.class_names)
    if classes < 2:
        raise UserError(f"split '{split}' of {name} has 1 class, which leaves nothing to tell apart", "give it more.")
    if shape.way < 2:
        raise UserError(
            f"way={shape.way} leaves nothing to tell apart in {name}", f"raise {shape.knob('way')} to 2 or more."
        )
    if shape.way > classes:
        raise UserError(
            f"way={shape.way} but split '{split}' of {name} has {classes} classes",
            f"lower {shape.knob('way')} or use another split.",
        )
    used = np.arange(classes) if groups is None else groups.classes.numpy()
    smallest = int(used[examples.sizes[used].argmin()])
    size = int(examples.sizes[smallest])
    if shape.across is None and shape.shot + shape.query > size:
        lower = shape.to_lower("shot", "query", fits=lambda other: other.shot + other.query <= size)
        raise UserError(
            f"shot + query = {shape.shot} + {shape.query} but class '{examples.class_names[smallest]}' in split "
            f"'{split}' of {name} has {counted(size, 'example')}; "
            + (f"lower {lower}." if lower else "a task takes at least 2 of each class: add some, or leave it out.")
        )


def _check_can_be_disjoint(shape: TaskShape) -> None:
    for name in ("across", "imbalance"):
        if (asked := getattr(shape, name)) is not None:
            key = source_key(shape.key(name))
            raise UserError(
                f"test.interval=open{set_by('test.interval')} but {key}={asked} draws tasks that share examples",
                f"set `test.interval=closed` or `{key}=null`.",
            )


def _check_enough(
    name: str, split: Split, tasks: int, examples: Examples, shape: TaskShape, groups: ClassGroups | None
) -> None:
    if tasks >= 2:
        return

    def fits(other: TaskShape) -> bool:
        parts = examples.sizes // (other.shot + other.query)
        by_group = [parts] if groups is None else np.split(parts[groups.classes], groups.offsets[1:-1])
        return sum(int(each.sum()) // other.way for each in by_group) >= 2

    lower = shape.to_lower("way", "shot", "query", fits=fits) or shape.knob("way", "shot", "query")
    raise UserError(
        f"test.interval=open{set_by('test.interval')} but split '{split}' of {name} has room for "
        f"{counted(tasks, 'task')} of {shape} with {shape.query} queries if no two tasks share an example",
        f"lower {lower}, or use test.interval=closed.",
    )
