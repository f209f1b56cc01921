"""Unequal shots and queries: how the examples of a task are shared out among its classes."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.tasks.rng import choose, split_key, uniform

Imbalance = Literal["meta_dataset", "dirichlet", "meta_dataset+dirichlet"]
_ALPHA = (math.log(0.5), math.log(2.0))  # of Meta-Dataset's code


def check_imbalance(value: str, key: str) -> None:
    """Raise a UserError if `value` is not a known way to share out examples; `key` set it."""
    if value not in get_args(Imbalance):
        known = ", ".join(get_args(Imbalance))
        raise UserError(
            f"{key}={value} is not a known way to share out examples",
            f"set `{key}` to {known}, or null for equal parts.",
        )


def unequal_shots(imbalance: str | None) -> bool:
    """Return whether classes have unequal numbers of support examples."""
    return imbalance is not None and imbalance != "dirichlet"


def most_shots(way: int, shot: int, imbalance: str | None) -> int:
    """Return the most support examples that a class of a task can have."""
    return way * shot - way + 1 if unequal_shots(imbalance) else shot


@dataclass(frozen=True)
class Shares:
    """Shares of a support budget of way * shot examples, of a query budget of way * query examples, or of both.

    Of the support budget, as in Meta-Dataset (Triantafillou et al. 2020, https://arxiv.org/abs/1903.03096, section
    3.2): each class has one example, and the others are shared out in proportion to exp(a) times the size of the class,
    a uniform in log(1/2) to log(2); no class gets more than it has beside `query` examples. There, rounding down leaves
    some of the budget unused. Here it goes to the classes with the largest remainders, so that all tasks of a stream
    have equally many examples.

    Of the query budget, as Veilleux et al. 2021 (https://arxiv.org/abs/2204.11181): in proportion to a draw
    from Dirichlet(2, ..., 2), rounded likewise. A class may have no query; none gets more than it has beside its
    support examples.

    Args:
        shot: mean number of support examples of a class.
        query: mean number of query examples of a class.
        how: which budgets are shared out unequally.
        largest: the most examples that a class has.
    """

    shot: int
    query: int
    how: str
    largest: int

    @classmethod
    def of(cls, shot: int, query: int, imbalance: str | None, largest: int) -> Self | None:
        """Return the shares, or None for equal ones; the arguments are those of the class."""
        return None if imbalance is None else cls(shot, query, imbalance, largest)

    def resized(self, shot: int, query: int) -> Self:
        """Return the shares of tasks with another mean number of examples."""
        return replace(self, shot=shot, query=query)

    def shots(self, task_keys: Tensor, sizes: Tensor, room: Tensor) -> Tensor:
        """Return (tasks, way) support examples of each class: at least 1, at most `room`, way * shot in all.

        Args:
            task_keys: (tasks).
            sizes: (tasks, way) of the classes, which they are in proportion to.
            room: (tasks, way) how many each class can give, at least `shot`.
        """
        way = sizes.shape[-1]
        if not unequal_shots(self.how):
            return torch.full_like(sizes, self.shot)
        low, high = _ALPHA
        weights = sizes * (low + (high - low) * uniform(split_key(task_keys, 5), way)).exp()
        exact = weights / weights.sum(-1, keepdim=True) * (way * self.shot - way)
        return _shared_out(exact, 1, room, way * self.shot)

    def queries(self, task_keys: Tensor, room: Tensor) -> Tensor:
        """Return (tasks, way) queries of each class: at most `room`, way * query in all.

        Args:
            task_keys: (tasks).
            room: (tasks, way) how many each class can give, at least `query`.
        """
        way = room.shape[-1]
        if not self.unequal_queries:
            return torch.full_like(room, self.query)
        # The sum of two exponential variables is a Gamma(2) one, and their shares are Dirichlet(2).
        draws = -(1 - uniform(split_key(task_keys, 7), 2 * way)).log().reshape(*task_keys.shape, way, 2).sum(-1)
        return _shared_out(draws / draws.sum(-1, keepdim=True) * (way * self.query), 0, room, way * self.query)

    @property
    def unequal_queries(self) -> bool:
        """Whether classes have unequal numbers of queries."""
        return "dirichlet" in self.how

    def most_queries(self, way: int) -> int:
        """Return the most queries that a class of a task can have."""
        return min(way * self.query, self.largest) if self.unequal_queries else self.query

    def choose(self, task_keys: Tensor, class_keys: Tensor, sizes: Tensor) -> Tensor:
        """Return (tasks, way, most + most_queries) examples of classes by their places, support examples first.

        Both sides have -1 beyond the examples of a class.

        Args:
            task_keys: (tasks).
            class_keys: (tasks, way).
            sizes: (tasks, way) of the classes.
        """
        way = sizes.shape[-1]
        most, most_queries = most_shots(way, self.shot, self.how), self.most_queries(way)
        shots = self.shots(task_keys, sizes, sizes - self.query)
        queries = self.queries(task_keys, sizes - shots)
        places = choose(class_keys, sizes, most + most_queries, queries + shots)
        of_support = places.gather(-1, queries[..., None] + torch.arange(most, device=places.device))
        there = torch.arange(most_queries, device=places.device) < queries[..., None]
        return torch.cat([of_support, places[..., :most_queries].where(there, -1)], -1)


def _shared_out(exact: Tensor, least: int, room: Tensor, total: int) -> Tensor:
    """Round `least + exact` (..., way) to integers of at most `room` that sum to `total`, by the largest remainders."""
    shares = torch.minimum(exact.floor().long() + least, room)
    while (left := total - shares.sum(-1, keepdim=True)).any():
        behind = (exact + least - shares).masked_fill(shares >= room, -torch.inf)
        rank = behind.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        shares = shares + ((rank < left) & (shares < room))
    return shares
