"""Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) as a function of gradients, for steps in one task."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Adam:
    """The state after some steps: decaying means of the gradients and of their squares, by the names of the weights."""

    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    steps: int = 0

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "Adam":
        """Return the state before the first step."""
        zero = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return cls(zero, zero)

    def step(self, gradient: Mapping[str, Tensor]) -> tuple["Adam", dict[str, Tensor]]:
        """Return the next state, and how much of the learning rate to subtract from each weight (algorithm 1)."""
        first = {n: FIRST_DECAY * self.first[n] + (1 - FIRST_DECAY) * g for n, g in gradient.items()}
        second = {n: SECOND_DECAY * self.second[n] + (1 - SECOND_DECAY) * g.square() for n, g in gradient.items()}
        steps = self.steps + 1
        unbias, unbias_second = 1 - FIRST_DECAY**steps, 1 - SECOND_DECAY**steps
        change = {n: first[n] / unbias / ((second[n] / unbias_second).sqrt() + EPSILON) for n in gradient}
        return Adam(first, second, steps), change
