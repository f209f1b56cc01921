"""Implicit MAML: the exact meta-gradient without backpropagation through the inner steps."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from metarun.algorithms.hessian_products import dot, hessian_product, with_gradient
from metarun.algorithms.inner_loop import (
    GradientMethod,
    LinearHeadMethod,
    Parameters,
    check_steps,
    constant_gradient,
    gradient_steps,
    loss_with_weights,
    mean_over_tasks,
    network_weights,
)
from metarun.backbones import Backbone
from metarun.errors import UserError
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above
from metarun.tasks.batch import TaskBatch


class IMAML(LinearHeadMethod, GradientMethod):
    """iMAML (Rajeswaran, Finn, Kakade, Levine 2019, https://arxiv.org/abs/1909.04630).

    A task's weights minimise its support loss plus prox / 2 times the squared distance to the initial weights
    (equation 3). The meta-gradient depends only on this minimum, not on the path to it: it is the query gradient times
    the inverse of I + Hessian / prox (lemma 1), computed by a few steps of conjugate gradients.

    `meta_loss` has the mean query loss as its value and that meta-gradient as its gradient, which is exact only if the
    inner problem and the linear system are solved. Conjugate gradients stop in a direction of negative curvature.

    Args:
        backbone: the network below the head.
        outputs: size of the linear head, the way of the tasks.
        inner_lr: learning rate of the gradient steps.
        inner_steps: gradient steps on the inner problem in meta-training.
        prox: strength of the penalty on the distance to the initial weights (lambda).
        cg_steps: number of conjugate gradient steps.
        cg_damping: added to the diagonal of the system, as in the authors' code, for indefinite Hessians; 0: exact.
    """

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        inner_lr: float,
        inner_steps: int,
        prox: float,
        cg_steps: int,
        cg_damping: float = 0.0,
    ) -> None:
        super().__init__(backbone, outputs, inner_steps, order=None)
        check_above("algo.prox", prox, 0)
        if cg_steps < 1:
            raise UserError(
                f"algo.cg_steps={cg_steps} but conjugate gradients take at least 1", "raise `algo.cg_steps`."
            )
        check_steps("algo.cg_steps", cg_steps)
        self.inner_lr = inner_lr
        self.prox = prox
        self.cg_steps = cg_steps
        self.cg_damping = cg_damping

    def meta_loss(self, tasks: TaskBatch) -> Tensor:
        """Return the mean query loss of the adapted weights, with the implicit meta-gradient (algorithm 1)."""

        def query_loss(support_x: Inputs, support_y: Tensor, query_x: Inputs, query_y: Tensor) -> Tensor:
            loss_of, buffers = partial(loss_with_weights, self.backbone), dict(self.named_buffers())
            with torch.no_grad():
                *_, adapted = self.inner_loop(support_x, support_y, self.inner_steps, differentiable=False)
                query_gradient, loss = constant_gradient(loss_of, adapted, buffers, query_x, query_y, support_x)
                # Copies: these passes must not update statistics.
                copies = {name: buffer.clone() for name, buffer in buffers.items()}

                def system(vector: Parameters) -> Parameters:
                    """Return (I + Hessian / prox) vector, the left side of the system."""
                    product = hessian_product(loss_of, adapted, vector, copies, support_x, support_y)
                    return {name: (1 + self.cg_damping) * v + product[name] / self.prox for name, v in vector.items()}

                gradient = conjugate_gradients(system, query_gradient, self.cg_steps)
            return with_gradient(loss, network_weights(self), gradient)

        return mean_over_tasks(self, query_loss, tasks)

    def inner_loop(
        self,
        support_x: Inputs,
        support_y: Tensor,
        steps: int,
        differentiable: bool,  # noqa: ARG002, the steps are never differentiated
    ) -> Iterator[Parameters]:
        """See `GradientMethod.inner_loop`; the steps are on the inner problem (equation 3)."""
        initial: Parameters = {name: weight.detach() for name, weight in network_weights(self).items()}
        buffers = dict(self.named_buffers())  # running statistics, which a forward pass in meta-training updates

        def proximal(weights: Parameters, buffers: Parameters, x: Tensor, y: Tensor) -> Tensor:
            away = {name: weight - initial[name] for name, weight in weights.items()}
            return loss_with_weights(self.backbone, weights, buffers, x, y) + self.prox / 2 * dot(away, away)

        return gradient_steps(proximal, initial, self.inner_lr, steps, False, buffers, support_x, support_y)


def conjugate_gradients(system: Callable[[Parameters], Parameters], right: Parameters, steps: int) -> Parameters:
    """Solve `system`(solution) = `right` approximately by `steps` conjugate gradient steps; `system` is symmetric.

    In a direction of curvature 0 or less the solution stays as it is, and in all steps that follow.
    """
    solution = {name: torch.zeros_like(r) for name, r in right.items()}
    residual, direction = right, right
    size = dot(residual, residual)
    usable = torch.ones_like(size, dtype=torch.bool)  # false once the system proves indefinite, or is solved
    for _ in range(steps):
        image = system(direction)
        curvature = dot(direction, image)
        usable = usable & (curvature > 0)
        length = torch.where(usable, size / torch.where(usable, curvature, 1), 0)
        solution = {name: s + length * direction[name] for name, s in solution.items()}
        residual = {name: r - length * image[name] for name, r in residual.items()}
        before, size = size, dot(residual, residual)
        turn = torch.where(before > 0, size / torch.where(before > 0, before, 1), 0)
        direction = {name: r + turn * direction[name] for name, r in residual.items()}
    return solution
