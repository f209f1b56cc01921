"""Distributions of actions, as functions of the numbers that a network returns."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from metarun.data.environments.family import Actions, Continuous
from metarun.tasks.rng import as_normal


class Distribution(ABC):
    """A distribution of actions; `parameters` is (..., P) what a policy network returns."""

    @abstractmethod
    def noise(self, uniform: Tensor) -> Tensor:
        """Turn (..., n) float64 numbers in [0, 1) into the noise that `sample` takes."""

    @abstractmethod
    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Return actions (..., size), or (...) int64."""

    @abstractmethod
    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Return (...) the logarithms of the probabilities, or densities, of actions."""

    def ratio(self, parameters: Tensor, other: Tensor, actions: Tensor) -> Tensor:
        """Return (...) the probabilities of actions over those under another distribution."""
        return (self.log_prob(parameters, actions) - self.log_prob(other, actions)).exp()

    @abstractmethod
    def entropy(self, parameters: Tensor) -> Tensor:
        """Return (...) the entropies, in nats."""

    @abstractmethod
    def kl(self, parameters: Tensor, other: Tensor) -> Tensor:
        """Return (...) the Kullback-Leibler divergences of the second from the first."""

    @abstractmethod
    def fisher_product(self, parameters: Tensor, vector: Tensor) -> Tensor:
        """Return (..., P) the Hessian of `kl` in its second argument, where both are equal, times a vector."""


class Normal(Distribution):
    """Independent normal numbers; the parameters are their means, then the logarithms of their deviations."""

    def noise(self, uniform: Tensor) -> Tensor:
        """See `Distribution`."""
        return as_normal(uniform)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Distribution`."""
        mean, log_std = parameters.chunk(2, -1)
        return mean + log_std.exp() * noise

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """See `Distribution`."""
        mean, log_std = parameters.chunk(2, -1)
        each = -0.5 * ((actions - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2 * math.pi)
        return each.sum(-1)

    def entropy(self, parameters: Tensor) -> Tensor:
        """See `Distribution`."""
        _, log_std = parameters.chunk(2, -1)
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, parameters: Tensor, other: Tensor) -> Tensor:
        """See `Distribution`."""
        (mean, log_std), (other_mean, other_log_std) = parameters.chunk(2, -1), other.chunk(2, -1)
        spread = (2 * log_std).exp() + (mean - other_mean).square()
        return (other_log_std - log_std + 0.5 * spread * (-2 * other_log_std).exp() - 0.5).sum(-1)

    def fisher_product(self, parameters: Tensor, vector: Tensor) -> Tensor:
        """See `Distribution`: 1 / deviation^2 of a mean, 2 of the logarithm of a deviation."""
        (_, log_std), (of_mean, of_log_std) = parameters.chunk(2, -1), vector.chunk(2, -1)
        return torch.cat([of_mean * (-2 * log_std).exp(), 2 * of_log_std], -1)


class Categorical(Distribution):
    """One of several actions; the parameters are their logits."""

    def noise(self, uniform: Tensor) -> Tensor:
        """See `Distribution`."""
        return uniform

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """See `Distribution`: the first action at which the sum of the probabilities exceeds the noise."""
        sums = parameters.softmax(-1).cumsum(-1)[..., :-1]  # the last action has what is left
        return (sums <= noise).sum(-1)

    def log_prob(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """See `Distribution`."""
        return parameters.log_softmax(-1).gather(-1, actions[..., None])[..., 0]

    def entropy(self, parameters: Tensor) -> Tensor:
        """See `Distribution`."""
        logs = parameters.log_softmax(-1)
        return -(logs.exp() * logs).sum(-1)

    def kl(self, parameters: Tensor, other: Tensor) -> Tensor:
        """See `Distribution`."""
        own = parameters.log_softmax(-1)
        return (own.exp() * (own - other.log_softmax(-1))).sum(-1)

    def fisher_product(self, parameters: Tensor, vector: Tensor) -> Tensor:
        """See `Distribution`: diag(p) - p p^T."""
        p = parameters.softmax(-1)
        return p * (vector - (p * vector).sum(-1, keepdim=True))


def distribution_of(actions: Actions) -> Distribution:
    """Return the distribution of a space of actions."""
    return Normal() if isinstance(actions, Continuous) else Categorical()
