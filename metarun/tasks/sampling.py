"""Which examples each task is made of: drawn with replacement, or so that no two tasks share one."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from metarun.tasks.batch import TaskShape, chunks
from metarun.tasks.imbalance import Shares
from metarun.tasks.rng import choose, random_bits, root_key, split_key


@dataclass(frozen=True)
class ClassGroups:
    """Classes by group, for tasks whose classes are all of one group.

    Args:
        classes: (classes,) int64 numbers of the classes, one group after the other.
        offsets: (groups + 1,) int64; group g has the classes at offsets[g] to offsets[g + 1] - 1.
    """

    classes: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def choose(self, keys: Tensor, way: int) -> Tensor:
        """Return (..., way) classes for keys (...): a group, each equally likely, then classes of it.

        So a task is as often of a small alphabet as of a large one, as in Meta-Dataset (Triantafillou et al. 2020,
        section 3.2); by the classes, large alphabets would make most of the tasks.
        """
        groups = choose(split_key(keys, 2), torch.full_like(keys, len(self)), 1)[..., 0]  # `choose` itself uses 0 and 1
        within = choose(keys, self.offsets.diff()[groups], way)
        return self.classes[self.offsets[groups][..., None] + within]

    def on(self, device: torch.device) -> Self:
        """Return the same groups on a device."""
        return replace(self, classes=self.classes.to(device), offsets=self.offsets.to(device))


def choose_others(keys: Tensor, classes: Tensor, population: int, count: int) -> Tensor:
    """Return (tasks, count) classes that are not among those of the tasks, in random order, each equally likely.

    Args:
        keys: (tasks,) int64.
        classes: (tasks, way) numbers of the classes of each task.
        population: how many classes there are, at least way + count.
        count: how many to draw.
    """
    others = choose(keys, torch.full_like(keys, population - classes.shape[1]), count)
    for taken in classes.sort(1).values.unbind(1):  # the n-th of the others is n places on for each class before it
        others = others + (others >= taken[:, None])
    return others


def hash_of_rows(identity: str, rows: Callable[[int, int], tuple[Tensor, Tensor]], count: int) -> str:
    """Return a SHA-256 over an identity and the rows of the first `count` tasks, which `rows` returns some of."""
    digest = hashlib.sha256(identity.encode())
    for first, size in chunks(count, 1024):
        for side in rows(first, size):
            digest.update(side.cpu().numpy().tobytes())
    return digest.hexdigest()


class Endless(Protocol):
    """A choice of endless tasks, any of which can be asked for by its number."""

    def rows(self, numbers: Tensor) -> Tensor:
        """Return (count, way, shot + query) the examples of tasks by their numbers (count,)."""

    def keys(self, numbers: Tensor) -> Tensor:
        """Return (count,) what further draws for tasks can be made from, by their numbers (count,)."""

    def resized(self, shape: TaskShape) -> Self:
        """Return the same choice for tasks of a smaller way or shot."""

    def on(self, device: torch.device) -> Self:
        """Return the same choice made on a device."""


@dataclass(frozen=True)
class WithReplacement:
    """Endless tasks, each of which chooses from all classes and examples.

    Args:
        offsets: (classes + 1,) int64; the examples of class c are rows offsets[c] to offsets[c + 1] - 1.
        way: classes in a task.
        per_class: examples of each.
        key: what the choice is a pure function of, with a task's number.
        groups: of which one has all classes of a task; None: its classes are any.
        shares: of unequal shots or queries; None: equal ones.
    """

    offsets: Tensor
    way: int
    per_class: int
    key: int
    groups: ClassGroups | None = None
    shares: Shares | None = None

    def keys(self, numbers: Tensor) -> Tensor:
        """See `Endless`."""
        return split_key(self.key, numbers)

    def rows(self, numbers: Tensor) -> Tensor:
        """Return (count, way, per_class) the examples of tasks by their numbers (count,).

        With `shares`, (count, way, most + most_queries), see `Shares.choose`.
        """
        sizes = self.offsets.diff()
        task_keys = split_key(self.key, numbers)
        if self.groups is None:
            classes = choose(task_keys, torch.full_like(task_keys, len(sizes)), self.way)  # (count, way)
        else:
            classes = self.groups.choose(task_keys, self.way)
        class_keys = split_key(~task_keys[:, None], torch.arange(self.way, device=sizes.device))
        if self.shares is None:
            return self.offsets[classes][..., None] + choose(class_keys, sizes[classes], self.per_class)
        places = self.shares.choose(task_keys, class_keys, sizes[classes])
        return (self.offsets[classes][..., None] + places).where(places >= 0, -1)

    def resized(self, shape: TaskShape) -> Self:
        """Return the same choice for tasks of a smaller way or shot."""
        shares = None if self.shares is None else self.shares.resized(shape.shot, shape.query)
        return replace(self, way=shape.way, per_class=shape.shot + shape.query, shares=shares)

    def on(self, device: torch.device) -> Self:
        """Return the same choice made on a device."""
        groups = None if self.groups is None else self.groups.on(device)
        return replace(self, offsets=self.offsets.to(device), groups=groups)


@dataclass(frozen=True)
class Selected:
    """Some tasks of a choice, numbered anew.

    Args:
        choice: all of them.
        numbers: (tasks,) their numbers there.
    """

    choice: Endless
    numbers: Tensor

    def rows(self, numbers: Tensor) -> Tensor:
        """See `Endless`; after the last one they come again."""
        return self.choice.rows(self.numbers[numbers % len(self.numbers)])

    def keys(self, numbers: Tensor) -> Tensor:
        """See `Endless`."""
        return self.choice.keys(self.numbers[numbers % len(self.numbers)])

    def on(self, device: torch.device) -> Self:
        """Return the same choice made on a device."""
        return replace(self, choice=self.choice.on(device), numbers=self.numbers.to(device))


@dataclass(frozen=True)
class Disjoint:
    """As many tasks as a split has room for without an example in two of them (Lafargue et al. 2024, section 3).

    Args:
        table: (tasks, way, per_class) the examples of each task.
    """

    table: Tensor

    @classmethod
    def of(cls, offsets: Tensor, way: int, per_class: int, key: int, groups: ClassGroups | None = None) -> Self:
        """Choose; the arguments are those of `WithReplacement`.

        The examples of a class are shuffled and cut into parts of `per_class`. In every round the classes that have a
        part left are shuffled, and each `way` of them make a task of one part each, until fewer than `way` are left.
        Of several groups each gives all of its tasks, and those of all groups are shuffled.
        """
        if groups is not None:
            return cls._of_groups(offsets, way, per_class, key, groups.on(torch.device("cpu")))
        offsets = offsets.cpu()
        sizes = offsets.diff()
        parts = sizes // per_class
        shuffled = _shuffled_within(sizes, root_key(key, "examples"))
        used = torch.zeros_like(parts)
        tasks: list[Tensor] = []
        while len(ready := (used < parts).nonzero()[:, 0]) >= way:
            order = random_bits(torch.tensor(root_key(key, "round", len(tasks))), len(ready)).argsort(stable=True)
            classes = ready[order][: len(ready) // way * way]
            starts = offsets[classes] + used[classes] * per_class
            tasks.append(shuffled[starts[:, None] + torch.arange(per_class)].reshape(-1, way, per_class))
            used[classes] += 1
        return cls(torch.cat(tasks) if tasks else torch.empty(0, way, per_class, dtype=torch.int64))

    @classmethod
    def _of_groups(cls, offsets: Tensor, way: int, per_class: int, key: int, groups: ClassGroups) -> Self:
        offsets = offsets.cpu()
        tables = []
        for number in range(len(groups)):
            classes = groups.classes[groups.offsets[number] : groups.offsets[number + 1]]
            sizes = offsets.diff()[classes]
            own = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])  # offsets of the group's examples among themselves
            table = cls.of(own, way, per_class, root_key(key, "group", number)).table
            of_class = torch.searchsorted(own, table, right=True) - 1
            tables.append(table - own[of_class] + offsets[classes[of_class]])
        together = torch.cat(tables)
        order = random_bits(torch.tensor(root_key(key, "order")), len(together)).argsort(stable=True)
        return cls(together[order])

    def rows(self, numbers: Tensor) -> Tensor:
        """Return (count, way, per_class) the examples of tasks by their numbers; after the last one they come again."""
        return self.table[numbers % len(self.table)]

    def on(self, device: torch.device) -> Self:
        """Return the same choice on a device."""
        return replace(self, table=self.table.to(device))


@dataclass(frozen=True)
class InOrder:
    """Tasks of one entity each: its first rows are the support set, and queries are drawn from the later ones.

    Args:
        offsets: (entities + 1,) int64; the rows of entity e are offsets[e] to offsets[e + 1] - 1, in order.
        shot: support rows.
        query: query rows.
        key: what the choice is a pure function of, with a task's number.
        entities: (tasks,) of each task, after which they come again; None: endless tasks, each of any entity.
    """

    offsets: Tensor
    shot: int
    query: int
    key: int
    entities: Tensor | None = None

    @classmethod
    def of(cls, offsets: Tensor, shot: int, query: int, key: int, disjoint: bool) -> Self:
        """Return the choice; `disjoint`: of one task of each entity, in random order."""
        if not disjoint:
            return cls(offsets, shot, query, key)
        count = len(offsets) - 1
        order = choose(torch.tensor(root_key(key, "entities")), torch.tensor(count), count)
        return cls(offsets, shot, query, key, order)

    def rows(self, numbers: Tensor) -> Tensor:
        """Return (count, 1, shot + query) the rows of tasks by their numbers (count,)."""
        sizes, keys = self.offsets.diff(), split_key(self.key, numbers)
        if self.entities is None:
            entities = choose(keys, torch.full_like(keys, len(sizes)), 1)[:, 0]
        else:
            entities = self.entities[numbers % len(self.entities)]
        later = self.shot + choose(~keys, sizes[entities] - self.shot, self.query)
        within = torch.cat([torch.arange(self.shot).expand(len(numbers), -1), later], 1)
        return (self.offsets[entities][:, None] + within)[:, None]


def _shuffled_within(sizes: Tensor, key: int) -> Tensor:
    """Return the numbers of all examples, class by class, each class in random order."""
    classes = torch.arange(len(sizes)).repeat_interleave(sizes)
    order = random_bits(torch.tensor(key), len(classes)).argsort(stable=True)
    return order[classes[order].argsort(stable=True)]
