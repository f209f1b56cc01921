"""CAVIA: a task is a short vector, and only that adapts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, Algorithm
from metarun.algorithms.inner_loop import Parameters, check_inner_loop, gradient_steps
from metarun.backbones import Backbone, embed_queries, embed_with_weights, norm_weights
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import over_tasks


class CAVIA(Algorithm):
    """CAVIA (Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019, https://arxiv.org/abs/1810.03642).

    The inner loop adapts context parameters alone, which begin at zero in every task (equation 3); all weights are
    shared by the tasks and learned in the outer loop (equation 4), among them how the context steers the network.

    It does so by FiLM (section 3.3): channel c of a layer's output h becomes gamma_c h + beta_c, where gamma and beta
    are linear in the context. The layer is the last but one, that of the paper on images (the third of four), after
    its norm where it has one. In the paper's network for functions the context is an input, which is beta alone.
    Deviation: gamma begins at 1 and beta at 0 for the zero context, so that the network begins as it is.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head: the way of the tasks.
        inner_lr: rate of the gradient steps on the context.
        inner_steps: gradient steps inside a task, in meta-training.
        context: how many numbers a task is.
        order: of the meta-gradient, 1 or 2.

    Raises:
        UserError: an argument is out of range, or the backbone has no layer to steer.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification", "regression")

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        context: int,
        order: Literal[1, 2] = 2,
    ) -> None:
        super().__init__()
        check_inner_loop(inner_steps, order)
        if context < 1:
            raise UserError(f"algo.context={context} but a task is at least 1 number", "raise `algo.context`.")
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, outputs)
        self.layer = steered_layer(backbone)
        channels = len(backbone.get_parameter(f"{self.layer}.bias"))
        self.film = nn.Linear(context, 2 * channels)
        self.film.bias.data = torch.cat([torch.ones(channels), torch.zeros(channels)])
        self.outputs = outputs
        self.inner_lr = inner_lr
        self.inner_steps = inner_steps
        self.context = context
        self.order = order

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss with the adapted contexts (equation 4)."""

        def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
            *_, adapted = self.inner_loop(support_x, support_y, self.inner_steps, differentiable=self.order == 2)
            return self._loss(adapted, dict(self.named_buffers()), query_x, query_y, support_x)

        losses = over_tasks(query_loss, self, self.how, tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)
        return losses.mean()

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        buffers = dict(self.named_buffers())
        for context in self.inner_loop(support.x, support.y, steps, differentiable=False):
            yield SteeredNetwork(self, context, buffers, support.x)

    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """Return one task's context before adaptation (zero) and after each gradient step (equation 3).

        Args:
            support_x: (way * shot, *shape).
            support_y: (way * shot).
            steps: how many to take.
            differentiable: let later gradients flow through the steps' gradients; else they count as constants.
        """
        context = {"context": torch.zeros_like(self.film.weight[0])}
        buffers = dict(self.named_buffers())  # running statistics, which a forward pass in meta-training updates
        return gradient_steps(self._loss, context, self.inner_lr, steps, differentiable, buffers, support_x, support_y)

    def steered(self, context: Parameters, buffers: Parameters, x: Inputs, support_x: Inputs | None = None) -> Tensor:
        """Map the support set (n, *shape), or queries beside it, to (n, outputs) under a context.

        gamma (W h + b) + beta = (gamma W) h + (gamma b + beta): FiLM is another weight and bias of the layer.
        """
        gamma, beta = self.film(context["context"]).chunk(2)  # (channels) each
        weight, bias = (self.backbone.get_parameter(f"{self.layer}.{name}") for name in ("weight", "bias"))
        weight = gamma.view(-1, *[1] * (weight.ndim - 1)) * weight
        of_backbone = {name.removeprefix("backbone."): buffer for name, buffer in buffers.items()}
        film = {f"{self.layer}.weight": weight, f"{self.layer}.bias": gamma * bias + beta}

        def embed(x: Inputs) -> Tensor:
            return embed_with_weights(self.backbone, of_backbone, x, film)

        features = embed(x) if support_x is None else embed_queries(self.backbone, support_x, x, embed)
        outputs: Tensor = self.head(features)
        return outputs

    def _loss(
        self, context: Parameters, buffers: Parameters, x: Inputs, y: Tensor, support_x: Inputs | None = None
    ) -> Tensor:
        return mean_loss(self.steered(context, buffers, x, support_x), y)


@dataclass(frozen=True)
class SteeredNetwork:
    """The network under one task's context; the arguments are those of `CAVIA.steered`."""

    method: CAVIA
    context: Parameters
    buffers: Parameters
    support_x: Inputs

    def predict(self, query_x: Inputs) -> Tensor:
        """See `Adapted`."""
        return self.method.steered(self.context, self.buffers, query_x, self.support_x)


def steered_layer(backbone: nn.Module) -> str:
    """Return the name of the last but one layer with a weight and a bias per channel: of its norm where it has any."""
    layers: list[str] = [name for name, layer in backbone.named_modules() if name and _is_per_channel(layer)]
    norms = set(norm_weights(backbone))
    layers = [layer for layer in layers if f"{layer}.bias" in norms] or layers
    if not layers:
        raise UserError(
            "algo=cavia steers a layer by weight and bias but this backbone has none", "use backbone=conv4."
        )
    return layers[-2] if len(layers) > 1 else layers[0]


def _is_per_channel(layer: nn.Module) -> bool:
    """Whether a layer has a row of its weight and one number of its bias for each channel of its output."""
    weight, bias = (layer._parameters.get(name) for name in ("weight", "bias"))
    if weight is None or bias is None or isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return False
    return bias.ndim == 1 and weight.ndim > 0 and len(weight) == len(bias)
