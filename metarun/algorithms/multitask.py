"""A policy for all tasks, trained without adaptation."""

from torch import Tensor

from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.policy_method import PolicyGradientMethod
from metarun.algorithms.trust_region import TrustRegion, trust_region_update
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.rl.policy import NetworkPolicy
from metarun.rl.tasks import EnvironmentTasks


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
        later_inner_lr: see `PolicyGradientMethod`.
        discount: of rewards per step.
        gae_lambda: see `generalised_advantages`.
        initial_std: standard deviation of actions before training.
    """

    def __init__(
        self,
        backbone: Backbone,
        actions: Actions,
        inner_lr: float,
        max_kl: float = 0.01,
        curvature_trajectories: int | None = None,
        later_inner_lr: float | None = None,
        discount: float = 0.99,
        gae_lambda: float = 1.0,
        initial_std: float = 1.0,
    ) -> None:
        super().__init__(backbone, actions, inner_lr, later_inner_lr, discount, gae_lambda, initial_std)
        self.trust_region = TrustRegion(max_kl, curvature_trajectories)

    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> Tensor:  # noqa: ARG002
        """Sample trajectories of the one policy in each task, and take TRPO's step."""
        return multitask_step(self, tasks, self.trust_region)


def multitask_step(method: PolicyGradientMethod, tasks: EnvironmentTasks, settings: TrustRegion) -> Tensor:
    """Take TRPO's step on trajectories of one policy in all tasks; return their negative mean return."""
    policy = NetworkPolicy(method.policy)
    judged = tasks.judge(policy, 0)
    trust_region_update(method, lambda _, observations: policy.parameters(observations), [], judged, settings)
    return -judged.returns.mean()
