"""One few-shot task's shape, and some tasks side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from metarun.config.key_origins import knobs
from metarun.errors import UserError
from metarun.system.inputs import Inputs, first_field, map_inputs, to_dtype

_LEAST = {"way": 2, "shot": 1, "query": 1}  # of a task that tells classes apart


@dataclass(frozen=True)
class TaskShape:
    """The N-way K-shot setting.

    Args:
        way: classes in a task (outputs of the function, in regression).
        shot: support examples per class.
        query: query examples per class.
        keys: what those three are called where they were set: arguments, or keys of the config.

    Raises:
        UserError: one of them is below 1.
    """

    way: int
    shot: int
    query: int
    keys: tuple[str, str, str] = field(default=("way", "shot", "query"), compare=False)

    def __post_init__(self) -> None:
        for name in ("way", "shot", "query"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"{name}={getattr(self, name)} but a task needs at least 1", f"raise {self.knob(name)}."
                )

    def __str__(self) -> str:
        return f"{self.way}w{self.shot}s"

    def knob(self, *names: str, between: str = " or ") -> str:
        """Return the keys to turn for some of `way`, `shot` and `query`, with their values and who set them."""
        keys = dict(zip(("way", "shot", "query"), self.keys, strict=True))
        return knobs({keys[name]: getattr(self, name) for name in names}, between)

    def _with(self, sizes: Mapping[str, int]) -> Self:
        named = {"way": self.way, "shot": self.shot, "query": self.query, **sizes}
        return replace(self, way=named["way"], shot=named["shot"], query=named["query"])

    def to_lower(self, *names: str, fits: Callable[[Self], bool]) -> str:
        """Return which of some knobs to lower, those that help by themselves if there are such; nothing: none does."""
        least = {name: _LEAST[name] for name in names if getattr(self, name) > _LEAST[name]}
        alone = [name for name in least if fits(self._with({name: least[name]}))]
        if alone:
            return self.knob(*alone)
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
    """T tasks side by side.

    Args:
        support_x: (T, way * shot, *shape) floats; what is stored as uint8 is in [0, 1]. Examples of several fields are
            a dict of such tensors, where ids are int64 and masks bool.
        support_y: (T, way * shot) labels from 0 to way - 1, or (T, shot, 1) float targets in regression.
        query_x: (T, way * query, *shape).
        query_y: like support_y.
        way: classes per task.
        classes: (T, way) the number, within its split, of the class that each label stands for; None in regression.
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
        """Return the tasks with their floats in another precision."""

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
        """Return the tasks with some of their queries: `which` indexes the second dimension."""
        query_x = map_inputs(lambda field: field[:, which], self.query_x)
        return replace(self, query_x=query_x, query_y=self.query_y[:, which])


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0..count into (first, length) pieces of at most `size`."""
    for first in range(0, count, size):
        yield first, min(size, count - first)
