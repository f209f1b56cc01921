"""Acting at random: the floor of reinforcement learning."""

from collections.abc import Iterator
from typing import ClassVar, NoReturn

from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.policy_method import PolicyMethod
from metarun.backbones import Backbone
from metarun.data.environments.family import Actions
from metarun.errors import UserError
from metarun.rl.policy import UniformPolicy
from metarun.rl.tasks import EnvironmentTasks


class RandomPolicy(PolicyMethod):
    """Acts at random, whatever it is told: any method that learns something has a higher return.

    Actions are equally likely, and numbers uniform in [-1, 1]. Nothing is trained, so the run goes straight to
    meta-test. The untrained start of another method is the `floor` of its own runs.

    Args:
        backbone: not used.
        actions: their space.
    """

    learns: ClassVar[bool] = False

    def __init__(self, backbone: Backbone, actions: Actions) -> None:  # noqa: ARG002
        super().__init__()
        self.actions = actions
        self.outputs = actions.outputs

    def adapt(self, tasks: EnvironmentTasks, steps: int) -> Iterator[UniformPolicy]:  # noqa: ARG002
        """See `PolicyMethod.adapt`: it takes no steps."""
        yield UniformPolicy(self.actions)

    def outer_step(self, tasks: EnvironmentTasks, optimizer: OuterOptimizer) -> NoReturn:  # noqa: ARG002
        """Refuse to train."""
        raise UserError("algo=random has nothing to train", "use algo=maml_rl to learn a policy.")
