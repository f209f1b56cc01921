"""A policy with memory: a recurrent network over what was seen, done and got, across trajectories."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones import Backbone
from metarun.data.environments.family import Actions, Discrete
from metarun.rl.distributions import distribution_of
from metarun.rl.policy import Policy, check_norm, initial_log_std, with_log_std


class Memory(NamedTuple):
    """What T tasks with M policies each remember between two steps.

    Attributes:
        hidden: (T, M, units) the state of the recurrent network.
        before: (T, M, before) the last action, its reward, and 1 if it ended a trajectory.
    """

    hidden: Tensor
    before: Tensor

    def of(self, policies: int) -> "Memory":
        """Return the memory of as many policies of each task; they may share one."""
        return Memory(*(each.expand(-1, policies, -1) for each in self))


class RecurrentNetwork(nn.Module):
    """A gated recurrent unit over observation, last action, its reward and whether it ended a trajectory.

    Args:
        backbone: of an observation.
        actions: their space.
        units: of the recurrent network.
        initial_std: see `PolicyNetwork`.
    """

    def __init__(self, backbone: Backbone, actions: Actions, units: int, initial_std: float = 1.0) -> None:
        super().__init__()
        check_norm(backbone)
        self.backbone = backbone
        self.actions = actions
        self.units = units
        self.recurrent = nn.GRU(backbone.features + actions.outputs + 2, units, batch_first=True)
        self.head = nn.Linear(units, actions.outputs)
        self.log_std = initial_log_std(actions, initial_std)
        self.value = nn.Linear(units, 1)
        self.distribution = distribution_of(actions)

    def forward(self, observations: Tensor, before: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take sequences of steps.

        Args:
            observations: (n, L, *shape).
            before: (n, L, before), see `Memory`.
            hidden: (n, units) before the first step.

        Returns:
            The parameters (n, L, P) of the distributions of actions, the expected returns (n, L), and the (n, units)
            after the last step.
        """
        features = self.backbone(observations.flatten(0, 1)).unflatten(0, observations.shape[:2])
        outputs, last = self.recurrent(torch.cat([features, before], -1), hidden[None].contiguous())
        return with_log_std(self.head(outputs), self.log_std), self.value(outputs)[..., 0], last[0]

    def before(self, action: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        """Return (..., before) what `forward` takes of the step before: its action, reward and end."""
        if isinstance(self.actions, Discrete):
            action = F.one_hot(action, self.actions.count)
        return torch.cat([action.to(reward.dtype), reward[..., None], done[..., None]], -1)

    def nothing(self, tasks: int, policies: int) -> Memory:
        """Return the memory before the first step."""
        like = self.value.weight
        sizes = (self.units, self.actions.outputs + 2)
        return Memory(*(like.new_zeros(tasks, policies, size) for size in sizes))


class RecurrentPolicy(Policy):
    """Acts with a recurrent network, which starts with what it remembers.

    Args:
        network: of the policy.
        memory: (T, M) at the start of each trajectory, of as many policies as trajectories, or of one for all.
            None: nothing.

    Attributes:
        memory_after: after the trajectories.
        sequence: (T, K, before) before each step.
    """

    def __init__(self, network: RecurrentNetwork, memory: Memory | None = None) -> None:
        self.network = network
        self.memory = memory

    def start(self, tasks: int, trajectories: int) -> None:
        """See `Policy`."""
        remembered = self.memory or self.network.nothing(tasks, 1)
        self.hidden, self._before = remembered.of(trajectories)
        self._alive = self._before.new_ones(tasks, trajectories)
        self.sequence: list[Tensor] = []

    def noise(self, uniform: Tensor) -> Tensor:
        """See `Policy`."""
        return self.network.distribution.noise(uniform)

    def act(self, observation: Tensor, noise: Tensor) -> Tensor:
        """See `Policy`."""
        self.sequence.append(self._before)
        rows = (each.flatten(0, 1)[:, None] for each in (observation, self._before))
        parameters, _, hidden = self.network(*rows, self.hidden.flatten(0, 1))
        self.hidden = hidden.view_as(self.hidden).where(self._alive[..., None] > 0, self.hidden)
        return self.network.distribution.sample(parameters.view(*observation.shape[:2], -1), noise)

    def receive(self, action: Tensor, reward: Tensor, alive: Tensor) -> None:
        """See `Policy`."""
        found = self.network.before(action, reward, 1 - alive)
        self._before = found.where(self._alive[..., None] > 0, self._before)
        self._alive = alive

    @property
    def memory_after(self) -> Memory:
        """What is remembered after the trajectories, all of which have ended."""
        before = self._before.clone()
        before[..., -1] = 1
        return Memory(self.hidden, before)
