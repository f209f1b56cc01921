"""Model-agnostic meta-learning of a policy."""

from collections.abc import Sequence
from typing import Literal, Unpack

from torch import Tensor
from torch.func import vmap

from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.policy_method import PolicyGradientMethod, PolicyGradientOptions, check_inner_steps, expanded
from metarun.algorithms.trust_region import TrustRegion, trust_region_update
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.rl.advantages import Experience
from metarun.rl.tasks import EnvironmentTasks


class MAMLRL(PolicyGradientMethod):
    """MAML for reinforcement learning (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, algorithm 3).

    Learns the weights of a policy that acts well after a few steps of the policy gradient on a few trajectories. The
    outer step is TRPO's, on the trajectories after adaptation: the gradient of their surrogate through the inner steps,
    and a limit on how far the adapted policies may move. The inner advantages are those of trajectories of the policy
    before the step and are constants, as in the paper's code; that the weights also decide which trajectories these are
    is what ProMP adds.

    Args:
        backbone: the network of the policy, below its last layer.
        actions: their space.
        inner_lr: learning rate of the policy gradient.
        inner_steps: steps of the policy gradient in meta-training.
        order: of the meta-gradient, 1 or 2.
        max_kl: mean divergence of the adapted policies in one outer step, at most.
        curvature_trajectories: trajectories of each task from which the curvature of the divergence is computed, since
            that takes most of the time: as many of each inner step and of the adapted policy, so that it is the
            curvature for policies adapted on these few. Gradient and line search are of all of them. None: all.
        options: see `PolicyGradientMethod`.
    """

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        inner_lr: float,
        inner_steps: int = 1,
        order: Literal[1, 2] = 2,
        max_kl: float = 0.01,
        curvature_trajectories: int | None = None,
        **options: Unpack[PolicyGradientOptions],
    ) -> None:
        super().__init__(backbone, actions, inner_lr, **options)
        check_inner_steps(inner_steps)
        self.inner_steps = inner_steps
        self.order = order
        self.trust_region = TrustRegion(max_kl, curvature_trajectories)

    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> Tensor:  # noqa: ARG002
        """Sample, adapt, sample again, and take TRPO's step (algorithm 3, lines 4 to 10)."""
        explored, policy = self.explore_and_adapt(tasks, self.inner_steps)
        judged = tasks.judge(policy, self.inner_steps)
        trust_region_update(self, self.adapted_parameters, explored, judged, self.trust_region)
        return -judged.returns.mean()

    def adapted_parameters(self, explored: Sequence[Experience], observations: Tensor) -> Tensor:
        """Return (T, n, P) the distributions of each task's adapted policy at observations (T, n, *shape)."""

        def of_one_task(weights: dict[str, Tensor], explored: Sequence[Experience], observations: Tensor) -> Tensor:
            for step, seen in enumerate(explored):
                weights = self.inner_step(weights, seen, step, differentiable=self.order == 2)
            return self.policy.with_weights(weights, observations)

        weights = expanded(self.policy.weights, len(observations))
        found: Tensor = vmap(of_one_task)(weights, list(explored), observations)
        return found
