"""Learning a learning algorithm as a recurrent policy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.policy_method import STEPS_AT_ONCE, PolicyMethod, check_discounts
from metarun.algorithms.ppo import check_ppo, clipped_surrogate
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.rl.advantages import discounted_sums
from metarun.rl.recurrent import Memory, RecurrentNetwork, RecurrentPolicy
from metarun.rl.tasks import EnvironmentTasks
from metarun.rl.trajectories import Trajectories
from metarun.system.limits import check_at_least


class RL2(PolicyMethod):
    """RL^2 (Duan et al. 2016, https://arxiv.org/abs/1611.02779).

    A recurrent policy takes in observation, last action, its reward and whether a trajectory ended, and keeps its state
    over all trajectories of a *trial* in one task. What it learns about the task is in that state; the weights, which
    are the same in all tasks, are trained to maximise the reward of whole trials. A step of adaptation is `task.shot`
    trajectories, one after the other.

    In meta-training, each task of the meta-batch has `train.query` trials of `train.shot` trajectories.

    Deviation: the weights are trained by PPO with a value function of the same network, and not by TRPO.

    Args:
        backbone: of an observation, below the recurrent network.
        actions: their space.
        units: of the recurrent network.
        outer_epochs: steps of the optimiser in one outer step.
        clip: see `ProMP`.
        value_loss: weight of the squared error of the value function.
        entropy: weight of the entropy of the actions, which keeps the policy exploring in training.
        discount: of rewards per step, also over the end of a trajectory.
        gae_lambda: see `generalised_advantages`.
        initial_std: standard deviation of actions before training.
    """

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        units: int = 128,
        outer_epochs: int = 5,
        clip: float = 0.2,
        value_loss: float = 0.5,
        entropy: float = 0.0,
        discount: float = 0.99,
        gae_lambda: float = 0.3,
        initial_std: float = 1.0,
    ) -> None:
        super().__init__()
        check_ppo(outer_epochs, clip)
        check_discounts(discount, gae_lambda)
        check_at_least("algo.units", units, 1)
        check_at_least("algo.value_loss", value_loss, 0)
        check_at_least("algo.entropy", entropy, 0)
        self.network = RecurrentNetwork(backbone, actions, units, initial_std)
        self.outputs = actions.outputs
        self.outer_epochs = outer_epochs
        self.clip = clip
        self.value_loss = value_loss
        self.entropy = entropy
        self.discount = discount
        self.gae_lambda = gae_lambda

    def adapt(self, tasks: EnvironmentTasks, steps: int) -> Iterator[RecurrentPolicy]:
        """See `PolicyMethod.adapt`."""
        memory: Memory | None = None
        yield RecurrentPolicy(self.network, memory)
        for step in range(steps):
            for number in range(tasks.shot):
                policy = RecurrentPolicy(self.network, memory)
                tasks.explore_once(policy, step, number)
                memory = policy.memory_after
            yield RecurrentPolicy(self.network, memory)

    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> Tensor:
        """Roll out trials and take PPO's steps on them."""
        memory: Memory | None = None
        episodes: list[tuple[Trajectories, Tensor]] = []
        for number in range(tasks.shot):
            policy = RecurrentPolicy(self.network, memory)
            found = tasks.explore_once(policy, 0, number, trials=tasks.query)
            memory = policy.memory_after
            episodes.append((found, torch.stack(policy.sequence, 2)))
        self.improve(Trials.of(episodes), optimizer)
        return -torch.stack([found.returns for found, _ in episodes]).mean()

    def improve(self, trials: "Trials", optimizer: OuterOptimizer) -> None:
        """Take `outer_epochs` steps of the optimiser; the graphs of one chunk of trials are in memory at once."""
        size = max(1, STEPS_AT_ONCE // trials.alive.shape[1])
        chunks = [slice(first, first + size) for first in range(0, len(trials.alive), size)]
        parts = [trials.part(chunk) for chunk in chunks]
        with torch.no_grad():
            of_parts = [self.of_trials(part) for part in parts]
        old = [parameters for parameters, _ in of_parts]
        expected = torch.cat([values for _, values in of_parts])
        advantages, targets = self.advantages(trials, expected)
        count = trials.alive.sum()
        for _ in range(self.outer_epochs):
            optimizer.zero_grad()
            for chunk, part, before in zip(chunks, parts, old, strict=True):
                loss = self.outer_loss(part, before, advantages[chunk], targets[chunk]) / count
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def of_trials(self, trials: "Trials") -> tuple[Tensor, Tensor]:
        """Return the parameters (n, L, P) of the distributions of actions, and the expected returns (n, L)."""
        start = self.network.nothing(len(trials.alive), 1).hidden[:, 0]
        parameters, expected, _ = self.network(trials.observations, trials.before, start)
        return parameters, expected

    def advantages(self, trials: "Trials", expected: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n, L) the advantages, standardised over all trials, and what the value function should return.

        Schulman et al. 2016, equation 16, over the whole trial: the value after its last step is 0.
        """
        expected = expected * trials.alive
        following = torch.cat([expected[:, 1:], torch.zeros_like(expected[:, :1])], 1)
        errors = trials.rewards + self.discount * following - expected
        found = discounted_sums(errors, self.discount * self.gae_lambda)
        centred = (found - (found * trials.alive).sum() / trials.alive.sum()) * trials.alive
        deviation = (centred.square().sum() / trials.alive.sum()).sqrt()
        return centred / (deviation + 1e-8), found + expected

    def outer_loss(self, trials: "Trials", old: Tensor, advantages: Tensor, targets: Tensor) -> Tensor:
        """Return the sum over the steps of the loss (PPO, equation 9)."""
        parameters, expected = self.of_trials(trials)
        distribution = self.network.distribution
        ratio = distribution.ratio(parameters, old, trials.actions)
        loss = self.value_loss * (expected - targets).square() - clipped_surrogate(ratio, advantages, self.clip)
        if self.entropy:
            loss = loss - self.entropy * distribution.entropy(parameters)
        return (loss * trials.alive).sum()


@dataclass(frozen=True)
class Trials:
    """The steps of n trials, those that were taken first; L is the length of the longest.

    Args:
        observations: (n, L, *shape).
        before: (n, L, before), see `Memory`.
        actions: (n, L, size), or (n, L) int64.
        rewards: (n, L).
        alive: (n, L) 1 for the steps that were taken; 0 at the end of shorter trials.
    """

    observations: Tensor
    before: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor

    @classmethod
    def of(cls, episodes: Sequence[tuple[Trajectories, Tensor]]) -> Self:
        """Join the trajectories of trials, each with what was known before each step (T, M, H, before)."""
        alive = torch.cat([found.alive for found, _ in episodes], 2).flatten(0, 1)
        length = int(alive.sum(1).max())
        order = (1 - alive).argsort(dim=1, stable=True)[:, :length]

        def joined(fields: Sequence[Tensor]) -> Tensor:
            values = torch.cat(list(fields), 2).flatten(0, 1)
            return values.gather(
                1, order.view(*order.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
            )

        return cls(
            joined([found.observations for found, _ in episodes]),
            joined([before for _, before in episodes]),
            joined([found.actions for found, _ in episodes]),
            joined([found.rewards for found, _ in episodes]),
            joined([found.alive for found, _ in episodes]),
        )

    def part(self, which: slice) -> Self:
        """Return some of the trials."""
        fields = (self.observations, self.before, self.actions, self.rewards, self.alive)
        return type(self)(*(field[which] for field in fields))
