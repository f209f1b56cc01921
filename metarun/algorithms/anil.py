"""ANIL: MAML whose inner loop adapts only the head."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

from torch import Tensor
from torch.func import functional_call

from metarun.algorithms.algorithm import Adapted, AdaptedHead, embed_once
from metarun.algorithms.inner_loop import LinearHeadMethod, Parameters, gradient_steps, mean_over_tasks
from metarun.backbones import Backbone, embed_queries
from metarun.system.inputs import Inputs
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss


class ANIL(LinearHeadMethod):
    """ANIL (Raghu, Raghu, Bengio, Vinyals 2020, https://arxiv.org/abs/1909.09157).

    MAML whose inner loop adapts only the head; no task changes the features (section 4.1), because most of MAML's gain
    is feature reuse. A task's examples go through the backbone once, however many steps are taken.

    Support and query go through the backbone separately, as in MAML, which matters only for a norm with batch
    statistics.

    Args:
        backbone: the network below the head, shared by all tasks.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the gradient steps.
        inner_steps: gradient steps per task in meta-training.
        order: of the meta-gradient, 1 or 2.
    """

    predicts_from_features = True

    def __init__(
        self, backbone: Backbone, outputs: int, inner_lr: float, inner_steps: int, order: Literal[1, 2] = 2
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order)
        self.inner_lr = inner_lr

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted heads."""

        def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
            features = self.backbone(support_x)
            *_, head = self.inner_loop(features, support_y, self.inner_steps, differentiable=self.order == 2)
            return self._loss(head, embed_queries(self.backbone, support_x, query_x), query_y)

        return mean_over_tasks(self, query_loss, tasks)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        embed = embed_once(partial(embed_queries, self.backbone, support.x))
        for head in self.inner_loop(self.backbone(support.x), support.y, steps, differentiable=False):
            yield AdaptedHead(embed, partial(functional_call, self.head, head))

    def inner_loop(self, features: Tensor, support_y: Tensor, steps: int, differentiable: bool) -> Iterator[Parameters]:
        """Return one task's heads before adaptation and after each gradient step.

        The arguments are those of `GradientMethod.inner_loop`, with features (way * shot, features) of the support set.
        """
        head: Parameters = dict(self.head.named_parameters())
        return gradient_steps(self._loss, head, self.inner_lr, steps, differentiable, features, support_y)

    def _loss(self, head: Parameters, features: Tensor, y: Tensor) -> Tensor:
        return mean_loss(functional_call(self.head, head, features), y)
