"""A batch of tasks of reinforcement learning, whose data depend on the policy that asks for them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from metarun.data.environments.family import EnvironmentFamily
from metarun.rl.policy import Policy
from metarun.rl.rollout import roll_out
from metarun.rl.trajectories import Trajectories
from metarun.tasks.batch import chunks
from metarun.tasks.rng import split_key


@dataclass
class Meter:
    """What the roll-outs in some tasks took, and brought while policies learned from them.

    Attributes:
        seconds: of all roll-outs.
        explored: (T,) mean return of each roll-out from which a policy learned.
    """

    seconds: float = 0.0
    explored: list[Tensor] = field(default_factory=list)


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
        meter: of the roll-outs.
    """

    family: EnvironmentFamily
    parameters: Tensor
    keys: Tensor
    shot: int
    query: int
    meter: Meter = field(default_factory=Meter, compare=False)

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.keys.device

    def explore(self, policy: Policy, step: int) -> Trajectories:
        """Return `shot` trajectories of each task's policy after `step` steps, for the next step."""
        return self._explored(self._roll_out(policy, self._numbers(self.shot), 2 * step))

    def explore_once(self, policy: Policy, step: int, number: int, trials: int = 1) -> Trajectories:
        """Return the trajectory of one number, from 0 to `shot` - 1, alone: for a policy that learns from each.

        Args:
            policy: to roll out.
            step: how many steps it has taken; each was `shot` trajectories.
            number: of the trajectory; of the first trial it has the random numbers that `explore` gives it.
            trials: that take place side by side in each task, with other random numbers each.
        """
        return self._explored(self._roll_out(policy, self._numbers(trials) * self.shot + number, 2 * step))

    def judge(self, policy: Policy, step: int, watch: Callable[[Any], object] | None = None) -> Trajectories:
        """Return `query` trajectories of each task's policy after `step` steps, from which it learns nothing.

        Args:
            policy: to roll out.
            step: how many steps it has taken.
            watch: see `roll_out`.
        """
        return self._roll_out(policy, self._numbers(self.query), 2 * step + 1, watch)

    def _numbers(self, count: int) -> Tensor:
        return torch.arange(count, device=self.device)

    def _roll_out(
        self, policy: Policy, numbers: Tensor, use: int, watch: Callable[[Any], object] | None = None
    ) -> Trajectories:
        started = time.perf_counter()
        found = roll_out(self.family, self.parameters, split_key(self.keys, use), policy, numbers, watch)
        self.meter.seconds += time.perf_counter() - started
        return found

    def _explored(self, found: Trajectories) -> Trajectories:
        self.meter.explored.append(found.returns.mean(-1))
        return found

    def chunks(self, size: int) -> Iterator[Self]:
        """Yield the tasks in batches of at most `size`."""
        for first, count in chunks(len(self), size):
            which = slice(first, first + count)
            yield replace(self, parameters=self.parameters[which], keys=self.keys[which], meter=Meter())
