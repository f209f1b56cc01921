"""What a policy did and got in some tasks."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Trajectories:
    """K trajectories of up to H steps in each of T tasks.

    Args:
        observations: (T, K, H, *shape) before each step.
        actions: (T, K, H, size); of discrete actions (T, K, H) int64.
        rewards: (T, K, H), 0 after the end.
        alive: (T, K, H) 1 for the steps that were taken, 0 after the end.
        solved: (T, K) 1 for the trajectories that solved their task, else 0. None: no trajectory can.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor
    solved: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def returns(self) -> Tensor:
        """(T, K) the sums of the rewards, not discounted."""
        return self.rewards.sum(-1)

    def of_tasks(self, which: slice) -> Self:
        """Return the trajectories of some of the tasks."""
        return replace(
            self,
            observations=self.observations[which],
            actions=self.actions[which],
            rewards=self.rewards[which],
            alive=self.alive[which],
            solved=None if self.solved is None else self.solved[which],
        )
