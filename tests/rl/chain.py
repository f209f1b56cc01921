"""A small environment whose return is known exactly: a chain of two states, two actions, three steps."""

import itertools

import torch

from metarun.data.environments.family import Discrete
from metarun.rl.advantages import Experience

HORIZON = 3
REWARDS = ((0.3, -1.0), (2.0, 0.5))  # by state and action; an action leads to the state of its number


class Chain:
    """The task scales the reward of the last state; observations are one-hot states."""

    name = "chain"
    hash = "chain"
    shape = (2,)
    actions = Discrete(2)
    horizon = HORIZON
    parameter_count = 1
    uniforms_per_reset = 0
    uniforms_per_step = 0

    def parameters(self, uniform):
        return 1 + uniform

    def reset(self, parameters, uniform):
        state = torch.zeros(uniform.shape[:2], dtype=torch.int64)
        return state, observed(state, parameters.dtype)

    def step(self, parameters, state, action, uniform):
        reward = rewards(parameters[:, None, 0].expand(state.shape), state, action)
        return action, observed(action, parameters.dtype), reward, torch.zeros_like(state, dtype=torch.bool)


def observed(state, dtype):
    return torch.nn.functional.one_hot(state, 2).to(dtype)


def rewards(scale, state, action):
    return torch.tensor(REWARDS, dtype=scale.dtype)[state, action] * torch.where(state == 1, scale, 1)


def every_trajectory(scale: float, horizon: int = HORIZON):
    """Return the observations, actions and rewards of all 8 trajectories, (8, 3, …) each, in float64."""
    actions = torch.tensor(list(itertools.product((0, 1), repeat=horizon)))
    states = torch.cat([torch.zeros_like(actions[:, :1]), actions[:, :-1]], 1)
    scales = torch.tensor(scale, dtype=torch.float64)
    return observed(states, torch.float64), actions, rewards(scales, states, actions)


def probabilities(policy, weights, observations, actions):
    """Return (8,) the probability of each trajectory, under one task's weights."""
    parameters = policy.with_weights(weights, observations.flatten(0, 1)).unflatten(0, actions.shape)
    return policy.distribution.log_prob(parameters, actions).sum(-1).exp()


def exact_return(policy, weights, scale: float, horizon: int = HORIZON):
    """Return the expected return of one task's weights."""
    observations, actions, gained = every_trajectory(scale, horizon)
    return (probabilities(policy, weights, observations, actions) * gained.sum(-1)).sum()


def exact_experience(policy, weights, scale: float, horizon: int = HORIZON) -> Experience:
    """Return all trajectories, weighted by their probability: what an infinite number of trajectories would be.

    Advantages are returns from a step on; they are not standardised.
    """
    observations, actions, gained = every_trajectory(scale, horizon)
    p = probabilities(policy, weights, observations, actions).detach()
    advantages = gained.flip(-1).cumsum(-1).flip(-1)
    each = (observations.flatten(0, 1), actions.flatten(), advantages.flatten(), p.repeat_interleave(horizon))
    return Experience(*(field[None] for field in each))
