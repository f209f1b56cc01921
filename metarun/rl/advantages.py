"""Advantages: how much better an action turned out than what was expected of its place and time."""

from typing import NamedTuple

import torch
from torch import Tensor

from metarun.rl.trajectories import Trajectories

CLIP = 10.0  # of observations in the features, as in rllab
RIDGE = 1e-5
TIME_UNIT = 100.0  # steps


class Experience(NamedTuple):
    """What a policy gradient is computed of, for each step of T tasks; trajectories are joined.

    A named tuple, so that `vmap` takes it apart into tasks.

    Attributes:
        observations: (T, K * H, *shape).
        actions: (T, K * H, size), or (T, K * H) int64.
        advantages: (T, K * H), of mean 0 and deviation 1 in each task.
        alive: (T, K * H) 1 for the steps that were taken.
    """

    observations: Tensor
    actions: Tensor
    advantages: Tensor
    alive: Tensor

    def part(self, tasks: slice, steps: int | None = None) -> "Experience":
        """Return the first steps of some of the tasks."""
        return Experience(*(field[tasks, :steps] for field in self))

    def mean(self, values: Tensor) -> Tensor:
        """Return (T,) the mean of (T, K * H) values over the steps that were taken."""
        return (values * self.alive).sum(-1) / self.alive.sum(-1)


def experience_of(trajectories: Trajectories, discount: float, gae_lambda: float) -> Experience:
    """Return trajectories with the advantage of each step, standardised within each task."""
    advantages = generalised_advantages(trajectories, linear_baseline(trajectories, discount), discount, gae_lambda)
    advantages, alive = standardised(advantages, trajectories.alive).flatten(1), trajectories.alive.flatten(1)
    return Experience(trajectories.observations.flatten(1, 2), trajectories.actions.flatten(1, 2), advantages, alive)


def discounted_sums(values: Tensor, discount: float) -> Tensor:
    """Return (..., H) at each step the sum of what follows, each step discounted once more."""
    sums, total = torch.empty_like(values), torch.zeros_like(values[..., 0])
    for step in reversed(range(values.shape[-1])):
        total = values[..., step] + discount * total
        sums[..., step] = total
    return sums


def linear_baseline(trajectories: Trajectories, discount: float) -> Tensor:
    """Return (T, K, H) expected discounted returns: a linear function of observation and time, fitted in each task.

    Duan et al. 2016 (https://arxiv.org/abs/1604.06778), whose rllab Finn et al. 2017 use. The features are the
    observation, its square, time to the powers 1, 2 and 3, and 1. It is fitted to the same trajectories by ridge
    regression, in float64.
    """
    targets = discounted_sums(trajectories.rewards, discount).double()
    features = _features(trajectories.observations.double()) * trajectories.alive.double()[..., None]
    x, y = features.flatten(1, 2), (targets * trajectories.alive).flatten(1)[..., None]
    gram = x.mT @ x + RIDGE * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve_ex(gram, x.mT @ y)[0]  # without an error for what is not finite
    expected: Tensor = (features.flatten(1, 2) @ weights).view_as(targets)
    return expected.to(trajectories.rewards.dtype)


def _features(observations: Tensor) -> Tensor:
    """Return (T, K, H, features)."""
    clipped = observations.flatten(3).clamp(-CLIP, CLIP)
    steps = clipped.shape[2]
    time = (torch.arange(steps, dtype=clipped.dtype, device=clipped.device) / TIME_UNIT).expand(clipped.shape[:3])
    powers = torch.stack([time, time**2, time**3, torch.ones_like(time)], -1)
    return torch.cat([clipped, clipped**2, powers], -1)


def generalised_advantages(trajectories: Trajectories, expected: Tensor, discount: float, gae_lambda: float) -> Tensor:
    """Return (T, K, H) advantages (Schulman et al. 2016, https://arxiv.org/abs/1506.02438, equation 16).

    Args:
        trajectories: (T, K, H) steps; the value of what follows the last one is 0.
        expected: (T, K, H) returns that the baseline expects.
        discount: of rewards per step.
        gae_lambda: 1: the discounted return minus the baseline; 0: the error of one step.
    """
    expected = expected * trajectories.alive
    following = torch.cat([expected[..., 1:], torch.zeros_like(expected[..., :1])], -1)
    return discounted_sums(trajectories.rewards + discount * following - expected, discount * gae_lambda)


def standardised(values: Tensor, alive: Tensor) -> Tensor:
    """Return (T, K, H) values of mean 0 and deviation 1 over the steps that were taken in each task; else 0."""
    count = alive.sum((1, 2), keepdim=True)
    centred = (values - (values * alive).sum((1, 2), keepdim=True) / count) * alive
    deviation = (centred.square().sum((1, 2), keepdim=True) / count).sqrt()
    return centred / (deviation + 1e-8)
