"""The inner loop of gradient-based methods: gradient steps on one task's support loss."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, grad_and_value

from metarun.algorithms.algorithm import Adapted, Algorithm
from metarun.backbones import Backbone, embed_queries, embed_with_weights
from metarun.errors import UserError
from metarun.system.execution_mode import is_looping_over_tasks
from metarun.system.inputs import Inputs
from metarun.tasks.batch import Support, TaskBatch
from metarun.tasks.losses import mean_loss
from metarun.tasks.vectorize import over_tasks

MOST_STEPS = 100_000  # in one task
Parameters = dict[str, Tensor]
Loss = Callable[..., Tensor]  # of weights, then of whatever else it is given


class GradientMethod(Algorithm):
    """A method that adapts a backbone and a linear head to a task by gradient steps.

    Attributes:
        backbone: the network below the head.
    """

    backbone: Backbone

    @abstractmethod
    def inner_loop(
        self, support_x: Inputs, support_y: Tensor, steps: int, differentiable: bool
    ) -> Iterator[Parameters]:
        """Return one task's weights, by their names in the method, before adaptation and after each step.

        Args:
            support_x: (way * shot, *shape).
            support_y: (way * shot).
            steps: how many to take.
            differentiable: let later gradients flow through the steps' gradients; else they count as constants.
        """

    def adapt(self, support: Support, steps: int) -> Iterator[Adapted]:
        """See `Algorithm.adapt`."""
        for weights in self.inner_loop(support.x, support.y, steps, differentiable=False):
            yield AdaptedNetwork(self.backbone, weights, support.x)


@dataclass(frozen=True)
class AdaptedNetwork:
    """A backbone and a linear head under weights adapted to one task; the arguments are those of `outputs_under`."""

    backbone: Backbone
    weights: Parameters
    support_x: Inputs

    def predict(self, query_x: Inputs) -> Tensor:
        """See `Adapted`."""
        return outputs_under(self.backbone, self.weights, query_x, self.support_x)


def query_loss_of_adapted(method: GradientMethod, tasks: TaskBatch, inner_steps: int, differentiable: bool) -> Tensor:
    """Return the mean query loss of the weights adapted to each task (MAML, algorithm 1, line 8)."""

    def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
        *_, adapted = method.inner_loop(support_x, support_y, inner_steps, differentiable)
        return loss_under(method.backbone, adapted, dict(method.named_buffers()), query_x, query_y, support_x)

    each = (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)
    return over_tasks(query_loss, method, method.how, *each).mean()


def recomputed_query_loss(method: GradientMethod, tasks: TaskBatch, inner_steps: int, inner_lr: float) -> Tensor:
    """Return what `query_loss_of_adapted` does, with its exact gradient, in the memory of one inner step.

    Only each step's weights are kept. From the last step to the first, the gradient is pulled back through the step
    w - rate * gradient(w), whose Jacobian is I - rate * Hessian(w), by a Hessian-vector product that goes through that
    step's passes once more. The value returned has that gradient.
    """

    def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
        loss, buffers = partial(loss_under, method.backbone), dict(method.named_buffers())
        with torch.no_grad():
            *trail, adapted = method.inner_loop(support_x, support_y, inner_steps, differentiable=False)
            gradient, value = grad_and_value(loss)(adapted, buffers, query_x, query_y, support_x)
            kept = {name: buffer.clone() for name, buffer in buffers.items()}  # these passes gather no statistics
            for weights in reversed(trail):
                bent = hessian_product(loss, weights, gradient, kept, support_x, support_y)
                gradient = {name: g - inner_lr * bent[name] for name, g in gradient.items()}
        return with_gradient(value, trail[0], gradient)

    each = (tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y)
    return over_tasks(query_loss, method, method.how, *each).mean()


def outputs_under(backbone: Backbone, weights: Parameters, x: Inputs, support_x: Inputs | None = None) -> Tensor:
    """Return the (n, outputs) of a backbone and a linear head under other weights.

    Args:
        backbone: the network, whose own weights stand in for those that `weights` lacks.
        weights: "backbone.…", running statistics among them, "head.weight" and "head.bias".
        x: the support set (n, *shape), or queries.
        support_x: (m, *shape) the support set, if x are queries.
    """
    of_backbone = {name.removeprefix("backbone."): w for name, w in weights.items() if name.startswith("backbone.")}

    def embed(x: Inputs) -> Tensor:
        return embed_with_weights(backbone, of_backbone, x)

    features = embed(x) if support_x is None else embed_queries(backbone, support_x, x, embed)
    return F.linear(features, weights["head.weight"], weights["head.bias"])


def loss_under(
    backbone: Backbone,
    weights: Parameters,
    buffers: Parameters,
    x: Inputs,
    y: Tensor,
    support_x: Inputs | None = None,
) -> Tensor:
    """Return the mean loss under other weights and running statistics; see `outputs_under`."""
    return mean_loss(outputs_under(backbone, {**weights, **buffers}, x, support_x), y)


def gradient_step(
    loss: Loss, weights: Parameters, rate: float | Mapping[str, Tensor], differentiable: bool, *inputs: object
) -> Parameters:
    """Return the weights after one gradient step: w - rate * d loss / d w (MAML, equation 1).

    Args:
        loss: returns the scalar to lower, given the weights and `inputs`.
        weights: by name.
        rate: one for all weights, or one per name, of any shape that broadcasts.
        differentiable: let later gradients flow through this step's gradient; else it counts as a constant.
        inputs: tensors, or dicts of them, that `loss` may update in place (running statistics) must come this way.
    """
    with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
        gradient = _gradient(loss, weights, *inputs) if is_looping_over_tasks() else grad(loss)(weights, *inputs)
    if isinstance(rate, Mapping):
        return {name: weight - rate[name] * gradient[name] for name, weight in weights.items()}
    return {name: weight - rate * gradient[name] for name, weight in weights.items()}


def _gradient(loss: Loss, weights: Parameters, *inputs: object) -> Parameters:
    """Return what torch.func.grad does, without its cost: gradients to differentiate only where they are asked for."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        at = {
            name: weight if differentiable and weight.requires_grad else weight.detach().requires_grad_()
            for name, weight in weights.items()
        }
        value = loss(at, *inputs)
        found = torch.autograd.grad(value, list(at.values()), create_graph=differentiable, materialize_grads=True)
    return dict(zip(at, found, strict=True))


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


def hessian_product(loss: Loss, weights: Parameters, vector: Parameters, *inputs: object) -> Parameters:
    """Return the Hessian of `loss` at `weights` times a vector."""

    def slope(weights: Parameters, *inputs: object) -> Tensor:
        return dot(grad(loss)(weights, *inputs), vector)

    product: Parameters = grad(slope)(weights, *inputs)  # inputs go in at each level: running statistics change there
    return product


def with_gradient(value: Tensor, weights: Parameters, gradient: Parameters) -> Tensor:
    """Return `value` as a function of `weights` that has this gradient."""
    surrogate = dot(weights, gradient)
    return surrogate - surrogate.detach() + value


def dot(a: Parameters, b: Parameters) -> Tensor:
    """Return the inner product of two sets of weights."""
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()


def network_weights(method: nn.Module) -> Parameters:
    """Return what may be learned of a method's backbone and head: each weight once, under the first of its names.

    Frozen weights (`requires_grad=False`) stay as they are in every task, and so does what a method learns about
    adapting the others.
    """
    weights: Parameters = {name: weight for name, weight in method.named_parameters() if weight.requires_grad}
    return {name: weight for name, weight in weights.items() if name.split(".")[0] in ("backbone", "head")}


def check_inner_loop(inner_steps: int, order: int) -> None:
    """Raise a UserError if `algo.inner_steps` or `algo.order` is out of range."""
    if order not in (1, 2):
        raise UserError(f"algo.order={order} is not 1 (first-order) or 2 (exact).")
    if inner_steps < 1:
        raise UserError(
            f"algo.inner_steps={inner_steps} but an inner loop has at least 1 step", "raise `algo.inner_steps`."
        )
    check_steps("algo.inner_steps", inner_steps)


def check_steps(knob: str, steps: int) -> None:
    """Raise a UserError if a loop within one task is so long that for hours nothing would be seen of it."""
    if steps > MOST_STEPS:
        raise UserError(f"{knob}={steps:,} but no task is given more than {MOST_STEPS:,}", f"lower `{knob}`.")
