"""CAVIA: only a short context vector adapts to a task."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from metarun.algorithms.algorithm import Adapted, AdaptedBy
from metarun.algorithms.inner_loop import LinearHeadMethod, Parameters, gradient_steps, mean_over_tasks
from metarun.backbones import Backbone, embed_queries, embed_with_weights, norm_weights
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss


class CAVIA(LinearHeadMethod):
    """CAVIA (Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019, https://arxiv.org/abs/1810.03642).

    The inner loop adapts only context parameters, which start at zero in every task (equation 3). All tasks share the
    weights, which the outer loop learns (equation 4), among them those that map the context to a modulation.

    The modulation is FiLM (section 3.3): channel c of a layer's output h becomes gamma_c h + beta_c, where gamma and
    beta are linear in the context. The layer is the last but one, as in the paper on images (the third of four), after
    its norm if it has one. In the paper's network for functions the context is an input, which is beta alone.
    Deviation: for the zero context gamma is initially 1 and beta 0, so the initial network is not modulated.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the gradient steps on the context.
        inner_steps: gradient steps per task in meta-training.
        context: size of the context vector.
        order: of the meta-gradient, 1 or 2.

    Raises:
        UserError: the backbone has no layer to modulate.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        context: int,
        order: Literal[1, 2] = 2,
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order)
        if context < 1:
            raise UserError(f"algo.context={context} but a context needs at least 1 number", "raise `algo.context`.")
        self.layer = modulated_layer(backbone)
        channels = len(backbone.get_parameter(f"{self.layer}.bias"))
        self.film = nn.Linear(context, 2 * channels)
        self.film.bias.data = torch.cat([torch.ones(channels), torch.zeros(channels)])
        self.inner_lr = inner_lr
        self.context = context

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss with the adapted contexts (equation 4)."""

        def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
            *_, adapted = self.inner_loop(support_x, support_y, self.inner_steps, differentiable=self.order == 2)
            return self._loss(adapted, dict(self.named_buffers()), query_x, query_y, support_x)

        return mean_over_tasks(self, query_loss, tasks)

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        buffers = dict(self.named_buffers())
        for context in self.inner_loop(support.x, support.y, steps, differentiable=False):
            yield AdaptedBy(partial(self.outputs_with_context, context, buffers, support_x=support.x))

    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """Return one task's context before adaptation (zero) and after each gradient step (equation 3).

        The arguments are those of `GradientMethod.inner_loop`.
        """
        context = {"context": torch.zeros_like(self.film.weight[0])}
        buffers = dict(self.named_buffers())  # running statistics, which a forward pass in meta-training updates
        return gradient_steps(self._loss, context, self.inner_lr, steps, differentiable, buffers, support_x, support_y)

    def outputs_with_context(
        self, context: Parameters, buffers: Parameters, x: Inputs, support_x: Inputs | None = None
    ) -> Tensor:
        """Map the support set (n, *shape), or queries with their support set, to (n, outputs) for a context.

        gamma (W h + b) + beta = (gamma W) h + (gamma b + beta): FiLM changes the weight and bias of the layer.
        """
        # Not self.film(context), which has the same bits but adds the bias in place: an export has no gradient of that.
        gamma, beta = (context["context"] @ self.film.weight.mT + self.film.bias).chunk(2)  # (channels) each
        weight, bias = (self.backbone.get_parameter(f"{self.layer}.{name}") for name in ("weight", "bias"))
        scaled = gamma.view(-1, *[1] * (weight.ndim - 1)) * weight
        of_backbone = {name.removeprefix("backbone."): buffer for name, buffer in buffers.items()}
        film = {f"{self.layer}.weight": scaled, f"{self.layer}.bias": gamma * bias + beta}

        def embed(x: Inputs) -> Tensor:
            return embed_with_weights(self.backbone, of_backbone, x, film)

        features = embed(x) if support_x is None else embed_queries(self.backbone, support_x, x, embed)
        outputs: Tensor = self.head(features)
        return outputs

    def _loss(
        self, context: Parameters, buffers: Parameters, x: Inputs, y: Tensor, support_x: Inputs | None = None
    ) -> Tensor:
        return mean_loss(self.outputs_with_context(context, buffers, x, support_x), y)


def modulated_layer(backbone: nn.Module) -> str:
    """Return the name of the last but one layer with weight and bias per channel, or of its norm if it has one."""
    layers: list[str] = [name for name, layer in backbone.named_modules() if name and _is_per_channel(layer)]
    norms = set(norm_weights(backbone))
    layers = [layer for layer in layers if f"{layer}.bias" in norms] or layers
    if not layers:
        raise UserError(
            "algo=cavia needs a layer with weight and bias but this backbone has none", "use backbone=conv4."
        )
    return layers[-2] if len(layers) > 1 else layers[0]


def _is_per_channel(layer: nn.Module) -> bool:
    """Whether each output channel of a layer has one row of its weight and one number of its bias."""
    weight, bias = (layer._parameters.get(name) for name in ("weight", "bias"))
    if weight is None or bias is None or isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return False
    return bias.ndim == 1 and weight.ndim > 0 and len(weight) == len(bias)
