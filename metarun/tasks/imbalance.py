"""Unequal shots: how the support examples of a task are shared out among its classes."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.tasks.rng import choose, split_key, uniform

Imbalance = Literal["meta_dataset"]
_ALPHA = (math.log(0.5), math.log(2.0))  # of Meta-Dataset's code


def check_imbalance(value: str, key: str) -> None:
    """Raise a UserError if `value` is no way to share out; `key` set it."""
    if value not in get_args(Imbalance):
        known = ", ".join(get_args(Imbalance))
        raise UserError(
            f"{key}={value} is no way to share out shots", f"set `{key}` to {known}, or null for equal ones."
        )


@dataclass(frozen=True)
class Shares:
    """Shares of a support budget of way * shot examples.

    As in Meta-Dataset (Triantafillou et al. 2020, https://arxiv.org/abs/1903.03096, section 3.2): each class has one
    example, and the others are shared out in proportion to exp(a) times the size of the class, a uniform in log(1/2) to
    log(2); no class gets more than it has beside its queries. There, rounding down leaves some of the budget unused.
    Here it goes to the classes with the largest remainders, so that all tasks of a stream have equally many examples.

    Args:
        shot: mean number of support examples of a class.
        query: query examples of each class.
    """

    shot: int
    query: int

    def shots(self, task_keys: Tensor, sizes: Tensor, room: Tensor) -> Tensor:
        """Return (tasks, way) support examples of each class: at least 1, at most `room`, way * shot in all.

        Args:
            task_keys: (tasks).
            sizes: (tasks, way) of the classes, which they are in proportion to.
            room: (tasks, way) how many each class can give, at least `shot`.
        """
        way = sizes.shape[-1]
        low, high = _ALPHA
        weights = sizes * (low + (high - low) * uniform(split_key(task_keys, 5), way)).exp()
        exact = weights / weights.sum(-1, keepdim=True) * (way * self.shot - way)
        shots = torch.minimum(exact.floor().long() + 1, room)
        while (left := way * self.shot - shots.sum(-1, keepdim=True)).any():
            behind = (exact + 1 - shots).masked_fill(shots >= room, -torch.inf)
            rank = behind.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
            shots = shots + ((rank < left) & (shots < room))
        return shots

    def most(self, way: int) -> int:
        """Return the most support examples that a class of a task can have."""
        return way * self.shot - way + 1

    def choose(self, task_keys: Tensor, class_keys: Tensor, sizes: Tensor) -> Tensor:
        """Return (tasks, way, most + query) examples of classes by their places; -1 beyond a class's support examples.

        Args:
            task_keys: (tasks).
            class_keys: (tasks, way).
            sizes: (tasks, way) of the classes.
        """
        shots = self.shots(task_keys, sizes, sizes - self.query)
        most = self.most(sizes.shape[-1])
        places = choose(class_keys, sizes, self.query + most, self.query + shots)
        return torch.cat([places[..., self.query :], places[..., : self.query]], -1)
