"""Meta-SGD by learn2learn."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, Algorithm
from metarun.algorithms.inner_loop import check_inner_loop, network_weights
from metarun.algorithms.learn2learn.importing import import_learn2learn
from metarun.algorithms.learn2learn.learner import Learner, adapted_learners, check_adaptable, check_norm, query_loss
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import How


class Learn2LearnMetaSGD(Algorithm):
    """Meta-SGD (Li, Zhou, Chen, Li 2017, https://arxiv.org/abs/1707.09835) by `learn2learn.algorithms.MetaSGD`.

    Its learned rates, one per weight (`lrs`), have the names and the initialisation of those of `MetaSGD`, so each
    method can test a checkpoint of the other. Equal limits give learn2learn's initialisation, one number for all.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr_min: lower limit of the initial rates, which are uniformly random.
        inner_lr_max: upper limit of the initial rates.
        inner_steps: gradient steps per task in meta-training; 1 in the paper.
        order: of the meta-gradient, 1 (learn2learn's `first_order`) or 2; the rates are learned either way.

    Raises:
        UserError: an argument is out of range, or learn2learn is not installed.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification", "regression")
    how: How = "loop"

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr_min: float = 0.005,
        inner_lr_max: float = 0.1,
        inner_steps: int = 1,
        order: Literal[1, 2] = 2,
    ) -> None:
        super().__init__()
        check_inner_loop(inner_steps, order)
        if inner_lr_min > inner_lr_max:
            raise UserError(
                f"algo.inner_lr_min={inner_lr_min} is above algo.inner_lr_max={inner_lr_max}",
                "lower `algo.inner_lr_min`.",
            )
        check_norm(backbone)
        check_adaptable(backbone)
        import_learn2learn()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, outputs)
        self.outputs = outputs
        self.inner_steps = inner_steps
        self.order = order
        weights = network_weights(self).values()
        self.inner_lr = nn.ParameterList(torch.empty_like(w).uniform_(inner_lr_min, inner_lr_max) for w in weights)

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights."""
        return query_loss(self._learner(first_order=self.order == 1), nn.Identity(), tasks, self.inner_steps)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        return adapted_learners(self._learner(first_order=True), nn.Identity(), support, steps)

    def _learner(self, first_order: bool) -> Learner:
        """Wrap the network again each time: a stored wrapper would register its weights under a second name."""
        network = nn.Sequential(self.backbone, self.head)
        return import_learn2learn().algorithms.MetaSGD(network, lrs=self.inner_lr, first_order=first_order)
