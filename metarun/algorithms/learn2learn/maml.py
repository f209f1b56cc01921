"""MAML by learn2learn."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, Algorithm
from metarun.algorithms.inner_loop import check_inner_loop
from metarun.algorithms.learn2learn.importing import import_learn2learn
from metarun.algorithms.learn2learn.learner import Learner, adapted_learners, check_norm, query_loss
from metarun.backbones import Backbone
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import How


class Learn2LearnMAML(Algorithm):
    """MAML (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400) by `learn2learn.algorithms.MAML`.

    The same method as `MAML` in the code of Arnold et al. 2020 (https://arxiv.org/abs/2008.12284), to compare numbers.
    The weights have the same names, so each method can test a checkpoint of the other.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the gradient steps.
        inner_steps: gradient steps per task in meta-training.
        order: of the meta-gradient, 1 (learn2learn's `first_order`) or 2.

    Raises:
        UserError: an argument is out of range, or learn2learn is not installed.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification", "regression")
    how: How = "loop"

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        order: Literal[1, 2] = 2,
    ) -> None:
        super().__init__()
        check_inner_loop(inner_steps, order)
        check_norm(backbone)
        import_learn2learn()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, outputs)
        self.outputs = outputs
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.order = order

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights."""
        return query_loss(self._learner(first_order=self.order == 1), nn.Identity(), tasks, self.inner_steps)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        return adapted_learners(self._learner(first_order=True), nn.Identity(), support, steps)

    def _learner(self, first_order: bool) -> Learner:
        """Wrap the network again each time: a stored wrapper would register its weights under a second name."""
        network = nn.Sequential(self.backbone, self.head)
        # Weights that are frozen or unused do not change.
        unchanged = {"allow_nograd": True, "allow_unused": True}
        return import_learn2learn().algorithms.MAML(network, lr=self.inner_lr, first_order=first_order, **unchanged)
