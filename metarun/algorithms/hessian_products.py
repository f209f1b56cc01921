"""Meta-gradients by products of a Hessian with a vector, in the memory of one inner step."""

import torch
from torch import Tensor

from metarun.algorithms.inner_loop import GradientMethod, Loss, Parameters, constant_gradient, loss_of, mean_over_tasks
from metarun.system.gradient import grad
from metarun.system.inputs import Inputs
from metarun.tasks.batch import TaskBatch


def recomputed_query_loss(method: GradientMethod, tasks: TaskBatch, inner_steps: int, inner_lr: float) -> Tensor:
    """Return the same as `query_loss_of_adapted`, with its exact gradient, in the memory of one inner step.

    Only the weights of each step are kept. From the last step to the first, the gradient is propagated back through
    the step w - rate * gradient(w), whose Jacobian is I - rate * Hessian(w), by a Hessian-vector product that
    recomputes the passes of that step. The returned value has this gradient.
    """

    def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
        loss, buffers = loss_of(method), dict(method.named_buffers())
        with torch.no_grad():
            *trail, adapted = method.inner_loop(support_x, support_y, inner_steps, differentiable=False)
            gradient, value = constant_gradient(loss, adapted, buffers, query_x, query_y, support_x)
            # Copies: these passes must not update statistics.
            copies = {name: buffer.clone() for name, buffer in buffers.items()}
            for weights in reversed(trail):
                product = hessian_product(loss, weights, gradient, copies, support_x, support_y)
                gradient = {name: g - inner_lr * product[name] for name, g in gradient.items()}
        return with_gradient(value, trail[0], gradient)

    return mean_over_tasks(method, query_loss, tasks)


def hessian_product(loss: Loss, weights: Parameters, vector: Parameters, *inputs: object) -> Parameters:
    """Return the Hessian of `loss` at `weights` times a vector."""

    def slope(weights: Parameters, *inputs: object) -> Tensor:
        return dot(grad(loss)(weights, *inputs), vector)

    # The inputs are passed at each level, because running statistics change there.
    product: Parameters = grad(slope)(weights, *inputs)
    return product


def with_gradient(value: Tensor, weights: Parameters, gradient: Parameters) -> Tensor:
    """Return `value` as a function of `weights` that has this gradient."""
    surrogate = dot(weights, gradient)
    return surrogate - surrogate.detach() + value


def dot(a: Parameters, b: Parameters) -> Tensor:
    """Return the inner product of two sets of weights."""
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()
