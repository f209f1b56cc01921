"""A policy for all tasks, trained without adaptation."""

from typing import Unpack

from torch import Tensor

from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.policy_method import PolicyGradientMethod, PolicyGradientOptions
from metarun.algorithms.trust_region import TrustRegion, trust_region_update
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.rl.policy import NetworkPolicy
from metarun.rl.tasks import EnvironmentTasks


class MultitaskOptions(PolicyGradientOptions, total=False):
    """Arguments that methods which train such a policy pass on, see `Multitask`."""

    max_kl: float
    curvature_trajectories: int | None


class Multitask(PolicyGradientMethod):
    """One policy for the tasks of meta-training, by TRPO on all of them: "pretrained" in Finn et al. 2017.

    In meta-training nothing is adapted. In meta-val and meta-test the policy takes the same inner steps as MAML's, on
    as many trajectories, so that what differs is only what it was trained for. The checkpoint is chosen by the return
    after those steps.

    Args:
        backbone: the network of the policy, below its last layer.
        actions: their space.
        inner_lr: learning rate of the policy gradient in meta-val and meta-test.
        max_kl: mean divergence of the policy in one outer step, at most.
        curvature_trajectories: see `MAMLRL`.
        options: see `PolicyGradientMethod`.
    """

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        inner_lr: float,
        max_kl: float = 0.01,
        curvature_trajectories: int | None = None,
        **options: Unpack[PolicyGradientOptions],
    ) -> None:
        super().__init__(backbone, actions, inner_lr, **options)
        self.trust_region = TrustRegion(max_kl, curvature_trajectories)

    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> Tensor:  # noqa: ARG002
        """Sample trajectories of the one policy in each task, and take TRPO's step."""
        policy = NetworkPolicy(self.policy)
        judged = tasks.judge(policy, 0)
        trust_region_update(self, lambda _, seen: policy.parameters(seen), [], judged, self.trust_region)
        return -judged.returns.mean()
