"""The inner loop of gradient-based methods: gradient steps on one task's support loss."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.adapters import Adapt, Adapter, chosen_weights, make_adapter
from metarun.algorithms.algorithm import Adapted, AdaptedBy, Algorithm
from metarun.backbones import Backbone, embed_queries, embed_with_weights
from metarun.errors import UserError
from metarun.system.execution_mode import is_looping_over_tasks
from metarun.system.gradient import grad, grad_and_value
from metarun.system.inputs import Inputs
from metarun.system.limits import check_at_least
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import over_tasks

MAX_STEPS = 100_000  # in one task
Parameters = dict[str, Tensor]
Loss = Callable[..., Tensor]  # takes the weights, then its other inputs


class LinearHeadMethod(Algorithm):
    """A method with a linear head on a backbone that adapts to a task by gradient steps.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_steps: gradient steps per task in meta-training.
        order: of the meta-gradient, 1 (first-order) or 2 (exact); None if the update is not that gradient.
        adapt: what tasks change besides the head: "all" weights of the backbone, none ("head"), those of its
            normalisation ("norm"), or an adapter ("film", "lora"). The rest is meta-learned but the same in all tasks.
        adapt_rank: of "lora".
        adapt_alpha: of "lora".
        fewest_steps: the smallest `inner_steps` that the method can have.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification", "regression")

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_steps: int,
        order: int | None,
        adapt: Adapt = "all",
        adapt_rank: int = 8,
        adapt_alpha: float = 8.0,
        fewest_steps: int = 1,
    ) -> None:
        super().__init__()
        if order not in (1, 2, None):
            raise UserError(f"algo.order={order} is not 1 (first-order) or 2 (exact).")
        check_at_least("algo.inner_steps", inner_steps, fewest_steps)
        check_steps("algo.inner_steps", inner_steps)
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, outputs)
        self.outputs = outputs
        self.inner_steps = inner_steps
        self.order = order
        self.adapted = adapt
        self.adapter = make_adapter(adapt, backbone, adapt_rank, adapt_alpha)


class GradientMethod(Algorithm):
    """A method that adapts a backbone and a linear head to a task by gradient steps.

    Attributes:
        backbone: the network below the head.
        adapter: what tasks change in place of the backbone's weights, if anything.
    """

    backbone: Backbone
    adapter: Adapter | None

    @abstractmethod
    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """Return one task's weights, by their names in the method, before adaptation and after each step.

        Args:
            support_x: (way * shot, *shape).
            support_y: (way * shot).
            steps: number of steps.
            differentiable: differentiate later gradients through the steps; else the steps' gradients are constants.
        """

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        for weights in self.inner_loop(support.x, support.y, steps, differentiable=False):
            yield AdaptedBy(
                partial(outputs_with_weights, self.backbone, weights, support_x=support.x, adapter=self.adapter)
            )


def mean_over_tasks(method: Algorithm, loss: Loss, tasks: TaskBatch) -> Tensor:
    """Return the mean over the tasks of a loss that takes support_x, support_y, query_x and query_y of one task."""
    each = (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)
    return over_tasks(loss, method, method.how, *each).mean()


def query_loss_of_adapted(method: GradientMethod, tasks: TaskBatch, inner_steps: int, differentiable: bool) -> Tensor:
    """Return the mean query loss of the weights adapted to each task (MAML, algorithm 1, line 8)."""

    def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
        *_, adapted = method.inner_loop(support_x, support_y, inner_steps, differentiable)
        return loss_of(method)(adapted, dict(method.named_buffers()), query_x, query_y, support_x)

    return mean_over_tasks(method, query_loss, tasks)


def outputs_with_weights(
    backbone: Backbone, weights: Parameters, x: Inputs, support_x: Inputs | None = None, adapter: Adapter | None = None
) -> Tensor:
    """Return the (n, outputs) of a backbone and a linear head with other weights.

    Args:
        backbone: the network, whose own weights are used where `weights` has none.
        weights: "backbone.…", running statistics among them, "adapter.…", "head.weight" and "head.bias".
        x: the support set (n, *shape), or queries.
        support_x: (m, *shape) the support set, if x are queries.
        adapter: of the backbone, with its values in `weights`.
    """
    embed = embedding_with_weights(backbone, weights, adapter)
    features = embed(x) if support_x is None else embed_queries(backbone, support_x, x, embed)
    return F.linear(features, weights["head.weight"], weights["head.bias"])


def loss_with_weights(
    backbone: Backbone,
    weights: Parameters,
    buffers: Parameters,
    x: Inputs,
    y: Tensor,
    support_x: Inputs | None = None,
    adapter: Adapter | None = None,
) -> Tensor:
    """Return the mean loss with other weights and running statistics; see `outputs_with_weights`."""
    return mean_loss(outputs_with_weights(backbone, {**weights, **buffers}, x, support_x, adapter), y)


def loss_of(method: GradientMethod) -> Loss:
    """Return `loss_with_weights` of a method's backbone and adapter."""
    return partial(loss_with_weights, method.backbone, adapter=method.adapter)


def embedding_with_weights(
    backbone: Backbone, weights: Parameters, adapter: Adapter | None = None
) -> Callable[[Inputs], Tensor]:
    """Return the backbone as a function of its inputs, with other weights; see `outputs_with_weights`."""
    own, values = _part(weights, "backbone"), _part(weights, "adapter")
    adapted = None if adapter is None else adapter.layer_weights(backbone, own, values)
    return lambda x: embed_with_weights(backbone, own, x, adapted)


def _part(weights: Parameters, part: str) -> Parameters:
    """Return the weights whose names begin with a part of the method, by the rest of their names."""
    return {name.removeprefix(f"{part}."): w for name, w in weights.items() if name.startswith(f"{part}.")}


def gradient_step(
    loss: Loss, weights: Parameters, rate: float | Mapping[str, Tensor], differentiable: bool, *inputs: object
) -> Parameters:
    """Return the weights after one gradient step: w - rate * d loss / d w (MAML, equation 1).

    Args:
        loss: returns a scalar, given the weights and `inputs`.
        weights: by name.
        rate: one for all weights, or one per name, of any shape that broadcasts.
        differentiable: differentiate later gradients through this step; else its gradient is a constant.
        inputs: tensors, or dicts of them; those that `loss` updates in place (running statistics) must be among them.
    """
    with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
        gradient = _gradient(loss, weights, *inputs)[0] if is_looping_over_tasks() else grad(loss)(weights, *inputs)
    if isinstance(rate, Mapping):
        return {name: weight - rate[name] * gradient[name] for name, weight in weights.items()}
    return {name: weight - rate * gradient[name] for name, weight in weights.items()}


def constant_gradient(loss: Loss, weights: Parameters, *inputs: object) -> tuple[Parameters, Tensor]:
    """Return the gradient of a loss by the weights, as a constant, and the loss; see `gradient_step`."""
    with torch.no_grad():
        if is_looping_over_tasks():
            return _gradient(loss, weights, *inputs)
        found: tuple[Parameters, Tensor] = grad_and_value(loss)(weights, *inputs)
        return found


def _gradient(loss: Loss, weights: Parameters, *inputs: object) -> tuple[Parameters, Tensor]:
    """Return what torch.func.grad_and_value returns, but cheaper.

    The gradient is differentiable if grad mode is on, the value never.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = {
            name: weight if differentiable and weight.requires_grad else weight.detach().requires_grad_()
            for name, weight in weights.items()
        }
        value = loss(leaves, *inputs)
        gradient = torch.autograd.grad(
            value, list(leaves.values()), create_graph=differentiable, materialize_grads=True
        )
    return dict(zip(leaves, gradient, strict=True)), value.detach()


def gradient_steps(
    loss: Loss,
    weights: Parameters,
    rate: float | Mapping[str, Tensor],
    steps: int,
    differentiable: bool,
    *inputs: object,
) -> Iterator[Parameters]:
    """Yield the weights before adaptation and after each of `steps` gradient steps; see `gradient_step`."""
    yield weights
    for _ in range(steps):
        weights = gradient_step(loss, weights, rate, differentiable, *inputs)
        yield weights


def network_weights(method: nn.Module) -> Parameters:
    """Return the trainable weights of a method's backbone and head: each once, under its first name.

    No task changes frozen weights (`requires_grad=False`), nor what a method learns about adaptation, such as rates.
    """
    weights: Parameters = {name: weight for name, weight in method.named_parameters() if weight.requires_grad}
    return {name: weight for name, weight in weights.items() if name.split(".")[0] in ("backbone", "head")}


def adapted_weights(method: LinearHeadMethod) -> Parameters:
    """Return what a task changes, with the values that all tasks start with, which are meta-learned.

    Names are those in the method: "backbone.…", "adapter.…" and "head.…".
    """
    trained = network_weights(method)
    head = {name: weight for name, weight in trained.items() if name.startswith("head.")}
    of_backbone = {name: weight for name, weight in trained.items() if name not in head}
    return {**chosen_weights(method.adapted, method.adapter, method.backbone, of_backbone), **head}


def check_steps(key: str, steps: int) -> None:
    """Raise a UserError if a loop within one task would run for hours without progress."""
    if steps > MAX_STEPS:
        raise UserError(f"{key}={steps:,} but the limit is {MAX_STEPS:,} steps per task", f"lower `{key}`.")
