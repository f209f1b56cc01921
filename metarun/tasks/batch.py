"""One few-shot task's shape, and some tasks side by side."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from torch import Tensor

from metarun.config.keys_in_force import knobs
from metarun.errors import UserError

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
        x: (way * shot, *shape) floats.
        y: (way * shot) labels from 0 to way - 1, or (shot, outputs) float targets in regression.
        way: classes.
    """

    x: Tensor
    y: Tensor
    way: int


@dataclass(frozen=True)
class TaskBatch:
    """T tasks side by side.

    Args:
        support_x: (T, way * shot, *shape) floats; what is stored as uint8 lies in [0, 1].
        support_y: (T, way * shot) labels from 0 to way - 1, or (T, shot, 1) float targets in regression.
        query_x: (T, way * query, *shape).
        query_y: like support_y.
        way: classes per task.
        classes: (T, way) the number, within its split, of the class that each label stands for; None in regression.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    way: int
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.support_x)


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut 0..count into (first, length) pieces of at most `size`."""
    for first in range(0, count, size):
        yield first, min(size, count - first)
