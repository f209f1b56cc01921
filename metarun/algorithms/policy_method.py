"""The interface of a method of meta-reinforcement learning, and what policy gradient methods share."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, TypedDict

import torch
from torch import Tensor
from torch.func import vmap

from metarun.algorithms.inner_loop import check_steps, gradient_step
from metarun.algorithms.method import Method
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.errors import UserError
from metarun.rl.advantages import Experience, experience_of
from metarun.rl.policy import NetworkPolicy, Policy, PolicyNetwork
from metarun.rl.tasks import EnvironmentTasks
from metarun.rl.trajectories import Trajectories
from metarun.system.limits import check_at_least
from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import How

STEPS_AT_ONCE = 200_000  # environment steps whose graph is in memory at once


class PolicyMethod(Method):
    """A method that learns how to act in a new environment after a few trajectories.

    Its data depend on its policy, so it draws them itself, from the tasks; and its outer step is its own.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("reinforcement learning",)
    splittable: ClassVar[bool] = False
    how: How = "vectorised"

    @abstractmethod
    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> Tensor:
        """Take one step of the outer loop on a meta-batch.

        Args:
            tasks: of the meta-batch.
            optimizer: of `train.outer_optimizer`, over all learned weights, at the current rate. A method with an outer
                step of its own does not need it.

        Returns:
            The negative mean return of the judged trajectories, after adaptation if there is any.
        """

    @abstractmethod
    def adapt(self, tasks: EnvironmentTasks, steps: int) -> Iterator[Policy]:
        """Yield the policy of each task before adaptation and after each step.

        A step takes `tasks.shot` trajectories of each task, from `tasks.explore`. A method that takes no steps yields
        once. Each policy is valid until the next is requested.
        """


class PolicyGradientOptions(TypedDict, total=False):
    """Arguments that all policy gradient methods pass on, see `PolicyGradientMethod`."""

    later_inner_lr: float | None
    discount: float
    gae_lambda: float
    initial_std: float


class PolicyGradientMethod(PolicyMethod):
    """A method that adapts the weights of a policy network to a task by steps of the policy gradient.

    Args:
        backbone: the network of the policy, below its last layer.
        actions: their space.
        inner_lr: learning rate of the policy gradient.
        later_inner_lr: the same after the first step; None: `inner_lr`. Finn et al. halve it.
        discount: of rewards per step.
        gae_lambda: see `generalised_advantages`.
        initial_std: standard deviation of actions before training.
    """

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        inner_lr: float,
        later_inner_lr: float | None = None,
        discount: float = 0.99,
        gae_lambda: float = 1.0,
        initial_std: float = 1.0,
    ) -> None:
        super().__init__()
        check_discounts(discount, gae_lambda)
        self.policy = PolicyNetwork(backbone, actions, initial_std)
        self.outputs = actions.outputs
        self.inner_lr = inner_lr
        self.later_inner_lr = inner_lr if later_inner_lr is None else later_inner_lr
        self.discount = discount
        self.gae_lambda = gae_lambda

    def adapt(self, tasks: EnvironmentTasks, steps: int) -> Iterator[NetworkPolicy]:
        """See `PolicyMethod.adapt`."""
        policy = NetworkPolicy(self.policy)
        yield policy
        for step in range(steps):
            policy = self.adapted(policy, self.experience(tasks.explore(policy, step)), step)
            yield policy

    def explore_and_adapt(self, tasks: EnvironmentTasks, steps: int) -> tuple[list[Experience], NetworkPolicy]:
        """Return what each inner step was computed of, and the policies after the last."""
        explored: list[Experience] = []
        policy = NetworkPolicy(self.policy)
        for step in range(steps):
            explored.append(self.experience(tasks.explore(policy, step)))
            policy = self.adapted(policy, explored[-1], step)
        return explored, policy

    def experience(self, trajectories: Trajectories) -> Experience:
        """Return what a policy gradient is computed of."""
        return experience_of(trajectories, self.discount, self.gae_lambda)

    @torch.no_grad()
    def adapted(self, policy: NetworkPolicy, seen: Experience, step: int) -> NetworkPolicy:
        """Return the policy of each task after one step of the policy gradient on its own trajectories."""
        weights = policy.weights or expanded(self.policy.weights, len(seen.advantages))
        return NetworkPolicy(self.policy, vmap(partial(self.inner_step, step=step))(weights, seen))

    def inner_step(
        self, weights: Mapping[str, Tensor], seen: Experience, step: int, differentiable: bool = False
    ) -> dict[str, Tensor]:
        """Return one task's weights after a step of the policy gradient, the first of which is number 0.

        MAML, equation 4 and algorithm 3, line 7.
        """
        own = (seen.observations, seen.actions, seen.advantages, seen.alive)
        return gradient_step(self.policy_loss, dict(weights), self.rate(step), differentiable, *own)

    def rate(self, step: int) -> float:
        """Return the learning rate of an inner step, the first of which is number 0."""
        return self.later_inner_lr if step else self.inner_lr

    def ratio(self, weights: Mapping[str, Tensor], seen: Experience, old: Tensor) -> Tensor:
        """Return (n,) the probability of each action of one task over that under the `old` distributions (n, P)."""
        parameters = self.policy.with_weights(weights, seen.observations)
        return self.policy.distribution.ratio(parameters, old, seen.actions)

    def policy_loss(
        self, weights: Mapping[str, Tensor], observations: Tensor, actions: Tensor, advantages: Tensor, alive: Tensor
    ) -> Tensor:
        """Return the negative mean of log-probability times advantage over one task's steps: REINFORCE."""
        parameters = self.policy.with_weights(weights, observations)
        log_prob = self.policy.distribution.log_prob(parameters, actions)
        return -(log_prob * advantages * alive).sum() / alive.sum()


def check_discounts(discount: float, gae_lambda: float) -> None:
    """Raise a UserError if one of them is out of range."""
    for key, value in (("discount", discount), ("gae_lambda", gae_lambda)):
        if not 0 <= value <= 1:
            raise UserError(f"algo.{key}={value} but it must be from 0 to 1", f"correct `algo.{key}`.")


def expanded(weights: Mapping[str, Tensor], tasks: int) -> dict[str, Tensor]:
    """Return the same weights for each of some tasks."""
    return {name: weight.expand(tasks, *weight.shape) for name, weight in weights.items()}


def parts_in_memory(seen: Sequence[Experience]) -> list[slice]:
    """Return slices of the tasks, each of as many as have a graph of their experience in memory at once."""
    tasks = len(seen[0].advantages)
    size = max(1, STEPS_AT_ONCE // sum(each.alive[0].numel() for each in seen))
    return [slice(first, first + size) for first in range(0, tasks, size)]


def check_inner_steps(inner_steps: int) -> None:
    """Raise a UserError if a method that learns through inner steps has none, or too many."""
    check_at_least("algo.inner_steps", inner_steps, 1)
    check_steps("algo.inner_steps", inner_steps)
