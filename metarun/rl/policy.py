"""What chooses actions: the interface, the network, and the same network with each task's own weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from metarun.backbones import Backbone, normalises_over_examples
from metarun.data.environments.family import Actions, Continuous
from metarun.errors import UserError
from metarun.rl.distributions import Distribution, distribution_of
from metarun.system.limits import check_above

Weights = Mapping[str, Tensor]


class Policy(ABC):
    """Chooses actions in T tasks with K trajectories each."""

    def start(self, tasks: int, trajectories: int) -> None:  # noqa: B027
        """Prepare for the first step of new trajectories. A policy without memory has nothing to do here."""

    @abstractmethod
    def noise(self, uniform: Tensor) -> Tensor:
        """Turn (..., n) float64 numbers in [0, 1) into the noise of `act`, of all steps of a trajectory at once."""

    @abstractmethod
    def act(self, observation: Tensor, noise: Tensor) -> Tensor:
        """Return the actions (T, K, size), or (T, K) int64, at observations (T, K, *shape)."""

    def receive(self, action: Tensor, reward: Tensor, alive: Tensor) -> None:  # noqa: B027
        """Take note of what an action brought. A policy without memory has nothing to do here.

        Args:
            action: as returned.
            reward: (T, K).
            alive: (T, K) 1 where the trajectory continues, 0 where it has ended.
        """


class UniformPolicy(Policy):
    """Acts at random: each action is as likely; numbers are uniform in [-1, 1].

    Args:
        actions: their space.
    """

    def __init__(self, actions: Actions) -> None:
        self.actions = actions

    def noise(self, uniform: Tensor) -> Tensor:
        """See `Policy`."""
        return uniform

    def act(self, observation: Tensor, noise: Tensor) -> Tensor:  # noqa: ARG002
        """See `Policy`."""
        if isinstance(self.actions, Continuous):
            return 2 * noise - 1
        return (noise[..., 0] * self.actions.count).long().clamp(max=self.actions.count - 1)  # if it was rounded to 1


class PolicyNetwork(nn.Module):
    """A backbone and a linear head, which map an observation to the parameters of a distribution of actions.

    Args:
        backbone: the network below the head.
        actions: their space.
        initial_std: standard deviation of continuous actions before training, in each of their numbers.

    Raises:
        UserError: the backbone normalises over examples, or the deviation is not positive.
    """

    def __init__(self, backbone: Backbone, actions: Actions, initial_std: float = 1.0) -> None:
        super().__init__()
        check_norm(backbone)
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, actions.outputs)
        self.distribution: Distribution = distribution_of(actions)
        self.log_std = initial_log_std(actions, initial_std)

    def forward(self, observation: Tensor) -> Tensor:
        """Map (n, *shape) to (n, parameters) of the distribution: logits, or means and logarithms of deviations."""
        return with_log_std(self.head(self.backbone(observation)), self.log_std)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The learned weights by name, the deviations among them."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def with_weights(self, weights: Weights, observation: Tensor) -> Tensor:
        """Return what `forward` does under one task's weights."""
        found: Tensor = functional_call(self, dict(weights), (observation,))
        return found


def check_norm(backbone: Backbone) -> None:
    """Raise a UserError if a backbone normalises observations by statistics of others.

    A policy acts on the observations of one moment but is trained on those of whole trajectories, so its actions would
    be samples of another distribution than the one that is differentiated.
    """
    if normalises_over_examples(backbone):
        raise UserError(
            "this backbone normalises each observation by statistics of others but a policy must act on each one alone",
            "set `backbone.norm=none` or `backbone.norm=layer`.",
        )


def initial_log_std(actions: Actions, initial_std: float) -> nn.Parameter | None:
    """Return the logarithms of the deviations of continuous actions, which are learned; None: they are discrete.

    Raises:
        UserError: the deviation is not positive.
    """
    check_above("algo.initial_std", initial_std, 0)
    return nn.Parameter(torch.full((actions.size,), initial_std).log()) if isinstance(actions, Continuous) else None


def with_log_std(outputs: Tensor, log_std: Tensor | None) -> Tensor:
    """Return the parameters of distributions of actions: outputs of a head, and deviations if actions have them."""
    return outputs if log_std is None else torch.cat([outputs, log_std.expand_as(outputs)], -1)


class NetworkPolicy(Policy):
    """A network without memory, with the same weights in all tasks or with each task's own.

    Args:
        network: of the policy.
        weights: (T, …) each, of the tasks; None: the network's own, in all tasks.
    """

    def __init__(self, network: PolicyNetwork, weights: Weights | None = None) -> None:
        self.network = network
        self.weights = weights

    def parameters(self, observations: Tensor) -> Tensor:
        """Return the parameters (T, n, …) of the distributions of actions at observations (T, n, *shape)."""
        if self.weights is None:
            found: Tensor = self.network(observations.flatten(0, 1))
            return found.view(*observations.shape[:2], -1)
        batched: Tensor = vmap(self.network.with_weights)(dict(self.weights), observations)
        return batched

    def noise(self, uniform: Tensor) -> Tensor:
        """See `Policy`."""
        return self.network.distribution.noise(uniform)

    def act(self, observation: Tensor, noise: Tensor) -> Tensor:
        """See `Policy`."""
        return self.network.distribution.sample(self.parameters(observation), noise)
