"""The shape of a few-shot task, and batches of tasks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from metarun.config.key_origins import knobs
from metarun.errors import UserError
from metarun.system.inputs import Inputs, first_field, map_inputs, to_dtype

_MIN = {"way": 2, "shot": 1, "query": 1}  # of a classification task
_NAMES = ("way", "shot", "query", "within", "across", "imbalance")  # in the order of `TaskShape.keys`


@dataclass(frozen=True)
class TaskShape:
    """The N-way K-shot setting.

    Args:
        way: classes in a task (outputs of the function, in regression).
        shot: support examples per class.
        query: query examples per class.
        within: the grouping that limits a task to classes of one group, such as "alphabet"; None: any classes.
        across: the grouping of examples, such as "speaker", of which the support set is from one group and the queries
            from another; None: from any.
        imbalance: how the examples are shared out among the classes, such as "meta_dataset" of the support set, so that
            `shot` or `query` is their mean; None: equally.
        smallest: the smallest way and shot of tasks of several sizes, of which this is the largest; None: of one size.
        keys: names of the six above for messages: arguments or config keys.

    Raises:
        UserError: one of them is below 1.
    """

    way: int
    shot: int
    query: int
    within: str | None = None
    across: str | None = None
    imbalance: str | None = None
    smallest: tuple[int, int] | None = None
    keys: tuple[str, ...] = field(default=_NAMES, compare=False)

    def __post_init__(self) -> None:
        for name in ("way", "shot", "query"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"{name}={getattr(self, name)} but a task needs at least 1", f"raise {self.knob(name)}."
                )

    def __str__(self) -> str:
        how = {"within": self.within, "across": self.across, "imbalance": self.imbalance}
        return f"{self.way}w{self.shot}s" + "".join(f" {name} {of}" for name, of in how.items() if of is not None)

    def key(self, name: str) -> str:
        """Return the argument or config key of one of `keys`."""
        return self.keys[_NAMES.index(name)]

    def knob(self, *names: str, between: str = " or ") -> str:
        """Return the keys that set some of these, with their values and what set them."""
        return knobs({self.key(name): getattr(self, name) for name in names}, between)

    def _with(self, sizes: Mapping[str, int]) -> Self:
        named = {"way": self.way, "shot": self.shot, "query": self.query, **sizes}
        return replace(self, way=named["way"], shot=named["shot"], query=named["query"], smallest=None)

    @property
    def sizes(self) -> str:
        """The way and the shot, or the ranges that they are from, with their keys: "task.way=5..20 and task.shot=1"."""
        smallest = self.smallest or (self.way, self.shot)
        ranges = zip(("way", "shot"), smallest, (self.way, self.shot), strict=True)
        return " and ".join(
            f"{self.key(name)}={least if least == most else f'{least}..{most}'}" for name, least, most in ranges
        )

    def to_lower(self, *names: str, fits: Callable[[Self], bool]) -> str:
        """Return the keys to lower so that the shape `fits`: those that suffice alone, else all; "" if none do."""
        least = {name: _MIN[name] for name in names if getattr(self, name) > _MIN[name]}
        sufficient = [name for name in least if fits(self._with({name: least[name]}))]
        if sufficient:
            return self.knob(*sufficient)
        return self.knob(*least, between=" and ") if least and fits(self._with(least)) else ""


@dataclass(frozen=True)
class Support:
    """The support set of one task.

    Args:
        x: (way * shot, *shape) floats, or a dict of fields.
        y: (way * shot) labels from 0 to way - 1, or (shot, outputs) float targets in regression.
        way: classes.
    """

    x: Inputs
    y: Tensor
    way: int


@dataclass(frozen=True)
class TaskBatch:
    """A batch of T tasks.

    Args:
        support_x: (T, way * shot, *shape) floats, by class; of unequal shots, which sum to way * shot. Stored uint8 are
            scaled to [0, 1]. Examples of several fields are a dict of such tensors, where ids are int64, masks bool.
        support_y: (T, way * shot) labels from 0 to way - 1, or (T, shot, 1) float targets in regression.
        query_x: (T, way * query, *shape), by class; of unequal numbers, which sum to way * query.
        query_y: like support_y.
        way: classes per task.
        classes: (T, way) the index within the split of the class of each label; None in regression.
    """

    support_x: Inputs
    support_y: Tensor
    query_x: Inputs
    query_y: Tensor
    way: int
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.support_y)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.support_y.device

    @property
    def regression(self) -> bool:
        """Whether the targets are numbers, not labels."""
        return self.support_y.is_floating_point()

    @property
    def example_shape(self) -> torch.Size:
        """The shape of one example; of several fields, of the first."""
        return first_field(self.query_x).shape[2:]

    def to(self, dtype: torch.dtype) -> Self:
        """Return the tasks with floats of another precision."""

        def convert(tensor: Tensor) -> Tensor:
            return to_dtype(tensor, dtype)

        return replace(
            self,
            support_x=map_inputs(convert, self.support_x),
            support_y=convert(self.support_y),
            query_x=map_inputs(convert, self.query_x),
            query_y=convert(self.query_y),
        )

    def with_queries(self, which: Tensor | slice) -> Self:
        """Return the tasks with a subset of their queries; `which` indexes the second dimension."""
        query_x = map_inputs(lambda field: field[:, which], self.query_x)
        return replace(self, query_x=query_x, query_y=self.query_y[:, which])


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Split range(count) into (first, length) chunks of at most `size`."""
    for first in range(0, count, size):
        yield first, min(size, count - first)
