"""A batch of tasks of reinforcement learning, whose data depend on the policy that asks for them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from metarun.data.environments.family import EnvironmentFamily
from metarun.rl.policy import Policy
from metarun.rl.rollout import roll_out
from metarun.rl.trajectories import Trajectories
from metarun.tasks.batch import chunks
from metarun.tasks.rng import split_key


@dataclass(frozen=True)
class EnvironmentTasks:
    """A batch of T tasks: environments of one family.

    The trajectories of a policy are a pure function of the task, the policy, the adaptation step and what they are for.

    Args:
        family: of the environments.
        parameters: (T, …) of each task, in the precision of the run.
        keys: (T,) int64, from which the random numbers of a task's trajectories come.
        shot: trajectories for each adaptation step.
        query: trajectories on which a policy is judged.
    """

    family: EnvironmentFamily
    parameters: Tensor
    keys: Tensor
    shot: int
    query: int

    def __len__(self) -> int:
        return len(self.parameters)

    def explore(self, policy: Policy, step: int) -> Trajectories:
        """Return `shot` trajectories of each task's policy after `step` steps, for the next step."""
        return self._roll_out(policy, self._numbers(self.shot), 2 * step)

    def explore_once(self, policy: Policy, step: int, number: int, trials: int = 1) -> Trajectories:
        """Return the trajectory of one number, from 0 to `shot` - 1, alone: for a policy that learns from each.

        Args:
            policy: to roll out.
            step: how many steps it has taken; each was `shot` trajectories.
            number: of the trajectory; of the first trial it has the random numbers that `explore` gives it.
            trials: that take place side by side in each task, with other random numbers each.
        """
        return self._roll_out(policy, self._numbers(trials) * self.shot + number, 2 * step)

    def judge(self, policy: Policy, step: int) -> Trajectories:
        """Return `query` trajectories of each task's policy after `step` steps, from which it learns nothing."""
        return self._roll_out(policy, self._numbers(self.query), 2 * step + 1)

    def _numbers(self, count: int) -> Tensor:
        return torch.arange(count, device=self.keys.device)

    def _roll_out(self, policy: Policy, numbers: Tensor, use: int) -> Trajectories:
        return roll_out(self.family, self.parameters, split_key(self.keys, use), policy, numbers)

    def chunks(self, size: int) -> Iterator[Self]:
        """Yield the tasks in batches of at most `size`."""
        for first, count in chunks(len(self), size):
            which = slice(first, first + count)
            yield replace(self, parameters=self.parameters[which], keys=self.keys[which])
