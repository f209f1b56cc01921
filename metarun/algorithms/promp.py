"""Proximal meta-policy search."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Unpack

import torch
from torch import Tensor
from torch.func import vmap

from metarun.algorithms.inner_loop import gradient_step
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.policy_method import (
    PolicyGradientMethod,
    PolicyGradientOptions,
    check_inner_steps,
    expanded,
    parts_in_memory,
)
from metarun.algorithms.ppo import check_ppo, clipped_surrogate
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.rl.advantages import Experience
from metarun.rl.policy import Weights
from metarun.rl.tasks import EnvironmentTasks
from metarun.system.limits import check_at_least


class Sampled(NamedTuple):
    """What T tasks saw, and the (T, n, P) distributions that its actions are samples of.

    A named tuple, so that `vmap` takes it apart into tasks.
    """

    seen: Experience
    parameters: Tensor


class ProMP(PolicyGradientMethod):
    """Proximal meta-policy search (Rothfuss et al. 2019, https://arxiv.org/abs/1810.06784, algorithm 1).

    As MAML for reinforcement learning, with two changes. The inner step is differentiated through the ratio of a new to
    an old probability in place of the logarithm: the *low variance curvature* surrogate (equation 10). Its gradient is
    the same and its curvature has the term that MAML's code lacks, so that the weights also answer for which
    trajectories they explore. And the outer step is several steps of `train.outer_optimizer` on the same trajectories,
    on PPO's clipped objective minus a penalty for how far the policies before adaptation move (equation 12).

    As in the authors' code, the penalty is averaged over the inner steps, and its coefficient is constant.

    Args:
        backbone: the network of the policy, below its last layer.
        actions: their space.
        inner_lr: learning rate of the policy gradient.
        inner_steps: steps of the policy gradient in meta-training.
        outer_epochs: steps of the optimiser in one outer step.
        clip: how far from 1 a ratio of probabilities may be before it earns nothing.
        kl_penalty: coefficient of the divergence of the policies before adaptation from those that acted.
        options: see `PolicyGradientMethod`.
    """

    order = 2

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        inner_lr: float,
        inner_steps: int = 1,
        outer_epochs: int = 5,
        clip: float = 0.3,
        kl_penalty: float = 5e-4,
        **options: Unpack[PolicyGradientOptions],
    ) -> None:
        super().__init__(backbone, actions, inner_lr, **options)
        check_inner_steps(inner_steps)
        check_ppo(outer_epochs, clip)
        check_at_least("algo.kl_penalty", kl_penalty, 0)
        self.inner_steps = inner_steps
        self.outer_epochs = outer_epochs
        self.clip = clip
        self.kl_penalty = kl_penalty

    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> Tensor:
        """Sample, adapt, sample again (algorithm 1, lines 5 to 8), and take steps on it (lines 9 to 11)."""
        explored, policy = self.explore_and_adapt(tasks, self.inner_steps)
        judged = tasks.judge(policy, self.inner_steps)
        self.improve(explored, self.experience(judged), optimizer)
        return -judged.returns.mean()

    def improve(self, explored: Sequence[Experience], judged: Experience, optimizer: OuterOptimizer) -> None:
        """Take `outer_epochs` steps of the optimiser; the graphs of one chunk of tasks are in memory at once."""
        parts = list(self._sampled_parts([*explored, judged]))
        for _ in range(self.outer_epochs):
            optimizer.zero_grad()
            for sampled in parts:
                self.outer_loss(sampled).sum().div(len(judged.advantages)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    @torch.no_grad()
    def _sampled_parts(self, seen: Sequence[Experience]) -> Iterator[list[Sampled]]:
        """Yield chunks of the tasks, with the distributions under the weights as they are."""
        for which in parts_in_memory(seen):
            part = [each.part(which) for each in seen]
            weights = expanded(self.policy.weights, len(part[0].advantages))
            sampled = []
            for step, each in enumerate(part):
                sampled.append(Sampled(each, vmap(self.policy.with_weights)(weights, each.observations)))
                if step < self.inner_steps:
                    weights = vmap(lambda w, e, step=step: self.inner_step(w, e, step))(weights, each)
            yield sampled

    def outer_loss(self, sampled: Sequence[Sampled]) -> Tensor:
        """Return (T,) the loss of each task: the negative of equation 12.

        Args:
            sampled: before each inner step, and after the last.
        """

        def of_one_task(weights: Weights, sampled: Sequence[Sampled]) -> Tensor:
            *explored, (judged, old) = sampled
            moved = torch.zeros_like(judged.advantages[0])
            for step, (seen, before) in enumerate(explored):
                parameters = self.policy.with_weights(weights, seen.observations)
                moved = moved + seen.mean(self.policy.distribution.kl(before, parameters)) / self.inner_steps
                weights = gradient_step(self.inner_loss, dict(weights), self.rate(step), True, seen, before)
            ratio = self.ratio(weights, judged, old)
            return self.kl_penalty * moved - judged.mean(clipped_surrogate(ratio, judged.advantages, self.clip))

        found: Tensor = vmap(of_one_task)(expanded(self.policy.weights, len(sampled[0].parameters)), list(sampled))
        return found

    def inner_loss(self, weights: Weights, seen: Experience, old: Tensor) -> Tensor:
        """Return the negative low variance curvature surrogate of one task (equation 10)."""
        return -seen.mean(self.ratio(weights, seen, old) * seen.advantages)
