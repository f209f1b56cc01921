"""Model-agnostic meta-learning."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarun.algorithms.algorithm import Algorithm, Kind
from metarun.algorithms.inner_loop import Parameters, check_inner_loop, gradient_steps
from metarun.backbones import Backbone
from metarun.losses import mean_loss
from metarun.over_tasks import How, over_tasks
from metarun.tasks import TaskBatch


class MAML(Algorithm):
    """MAML (Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400).

    Learns the initial weights from which a few gradient steps on a task's support set do best on its query set. The
    outer gradient goes through those steps (order 2), or takes the adapted weights' gradient as it is (order 1,
    section 5.2).

    Args:
        backbone: the network below the head.
        outputs: size of the linear head: the way of the tasks.
        inner_lr: rate of the gradient steps inside a task.
        inner_steps: gradient steps inside a task, in meta-training.
        order: of the meta-gradient, 1 or 2.
        over_tasks: how a meta-batch is run, see `over_tasks`.

    Raises:
        UserError: an argument is out of range.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification", "regression")

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        order: Literal[1, 2] = 2,
        over_tasks: How = "auto",
    ) -> None:
        super().__init__()
        check_inner_loop("MAML", inner_steps, order)
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, outputs)
        self.outputs = outputs
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.order = order
        self.how = over_tasks

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *shape) to (n, outputs)."""
        outputs: Tensor = self.head(self.backbone(x))
        return outputs

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights (algorithm 1, line 8)."""

        def query_loss(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
            *_, adapted = self.adapt(support_x, support_y, self.inner_steps, differentiable=self.order == 2)
            return self._loss(adapted, dict(self.named_buffers()), query_x, query_y)

        losses = over_tasks(query_loss, self, self.how, tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)
        return losses.mean()

    @torch.no_grad()
    def predict(self, tasks: TaskBatch, steps: int) -> Tensor:
        """See `Algorithm.predict`; the inner steps are taken all the same, `grad` does not heed no_grad."""

        def predictions(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            weights = self.adapt(support_x, support_y, steps, differentiable=False)
            return torch.stack([functional_call(self, adapted, query_x) for adapted in weights])

        return over_tasks(predictions, self, self.how, tasks.support_x, tasks.support_y, tasks.query_x).transpose(0, 1)

    def adapt(self, support_x: Tensor, support_y: Tensor, steps: int, differentiable: bool) -> Iterator[Parameters]:
        """Return one task's weights before adaptation and after each gradient step (algorithm 1, line 6).

        Args:
            support_x: (way * shot, *shape).
            support_y: (way * shot).
            steps: how many to take.
            differentiable: let later gradients flow through the steps' gradients; else they count as constants.
        """
        weights: Parameters = dict(self.named_parameters())
        buffers = dict(self.named_buffers())  # running statistics, which a forward pass in meta-training updates
        return gradient_steps(self._loss, weights, self.inner_lr, steps, differentiable, buffers, support_x, support_y)

    def _loss(self, weights: Parameters, buffers: Parameters, x: Tensor, y: Tensor) -> Tensor:
        return mean_loss(functional_call(self, (weights, buffers), x), y)
