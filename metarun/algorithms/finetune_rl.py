"""A policy for all tasks, and several steps on each batch of trajectories in a new one."""

from typing import Unpack

import torch
from torch import Tensor
from torch.func import vmap

from metarun.algorithms.inner_loop import check_steps, gradient_step
from metarun.algorithms.multitask import Multitask, MultitaskOptions
from metarun.algorithms.policy_method import expanded
from metarun.algorithms.ppo import check_clip, clipped_surrogate
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.rl.advantages import Experience
from metarun.rl.policy import NetworkPolicy, Weights
from metarun.system.limits import check_at_least


class FineTuneRL(Multitask):
    """Fine-tuning of a policy that was trained on all tasks, as one would do without meta-learning.

    Meta-training is that of `Multitask`. In a new task, each batch of trajectories is used for several gradient steps
    on PPO's clipped surrogate, where MAML takes one, since trajectories are what costs in practice.
    `metarun test run=… algo=finetune_rl` fine-tunes the policy of another run.

    Args:
        backbone: the network of the policy, below its last layer.
        actions: their space.
        inner_lr: learning rate of each step.
        inner_epochs: steps on each batch of trajectories.
        clip: see `ProMP`.
        options: see `Multitask`.
    """

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        inner_lr: float,
        inner_epochs: int = 5,
        clip: float = 0.2,
        **options: Unpack[MultitaskOptions],
    ) -> None:
        super().__init__(backbone, actions, inner_lr, **options)
        check_at_least("algo.inner_epochs", inner_epochs, 1)
        check_steps("algo.inner_epochs", inner_epochs)
        check_clip(clip)
        self.inner_epochs = inner_epochs
        self.clip = clip

    @torch.no_grad()
    def adapted(self, policy: NetworkPolicy, seen: Experience, step: int) -> NetworkPolicy:
        """Return the policy of each task after the steps on its own trajectories."""

        def one_step(weights: dict[str, Tensor], seen: Experience, old: Tensor) -> dict[str, Tensor]:
            return gradient_step(self.surrogate_loss, weights, self.rate(step), False, seen, old)

        old = policy.parameters(seen.observations)
        weights = dict(policy.weights or expanded(self.policy.weights, len(old)))
        for _ in range(self.inner_epochs):
            weights = vmap(one_step)(weights, seen, old)
        return NetworkPolicy(self.policy, weights)

    def surrogate_loss(self, weights: Weights, seen: Experience, old: Tensor) -> Tensor:
        """Return the negative clipped surrogate of one task (PPO, equation 7)."""
        return -seen.mean(clipped_surrogate(self.ratio(weights, seen, old), seen.advantages, self.clip))
