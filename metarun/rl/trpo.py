"""The step of trust region policy optimisation (Schulman et al. 2015, https://arxiv.org/abs/1502.05477)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RATIO = 0.8  # of a step in the line search to the one before
RESIDUAL = 1e-10  # at which the conjugate gradient stops
DAMPING = 1e-5  # times the identity, added to the curvature


@dataclass(frozen=True)
class Step:
    """A step in the space of the weights.

    Args:
        weights: after it; those before it if the line search found no improvement.
        kl: the mean divergence of the new policies from the old ones.
        accepted: whether there was an improvement.
    """

    weights: Tensor
    kl: float
    accepted: bool


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Return x such that product(x) is about b, of a symmetric positive definite matrix, starting at 0."""
    x, residual = torch.zeros_like(b), b.clone()
    direction, squared = residual.clone(), residual @ residual
    for _ in range(iterations):
        if squared < RESIDUAL:
            break
        image = product(direction)
        rate = squared / (direction @ image)
        x = x + rate * direction
        residual = residual - rate * image
        previous, squared = squared, residual @ residual
        direction = residual + squared / previous * direction
    return x


def trust_region_step(
    weights: Tensor,
    gradient: Tensor,
    curvature: Callable[[Tensor], Tensor],
    evaluate: Callable[[Tensor], tuple[float, float]],
    max_kl: float,
    cg_iterations: int = 10,
    backtracks: int = 15,
) -> Step:
    """Return the weights that minimise a loss to first order where the mean divergence is at most `max_kl`.

    Args:
        weights: (n,) before the step.
        gradient: (n,) of the loss.
        curvature: returns the Hessian of the mean divergence at `weights` times a vector.
        evaluate: returns the loss and the mean divergence at other weights.
        max_kl: the radius of the trust region.
        cg_iterations: of the conjugate gradient.
        backtracks: steps that the line search tries, each 0.8 times as long as the one before.
    """

    def damped(vector: Tensor) -> Tensor:
        return curvature(vector) + DAMPING * vector

    before, _ = evaluate(weights)
    direction = conjugate_gradient(damped, gradient, cg_iterations)
    squared = float(direction @ damped(direction))
    if not 0 < squared < float("inf"):  # the gradient is 0, or not finite
        return Step(weights, 0.0, False)
    longest = (2 * max_kl / squared) ** 0.5 * direction
    for tried in range(backtracks):
        candidate = weights - RATIO**tried * longest
        loss, kl = evaluate(candidate)
        if loss < before and kl <= max_kl:
            return Step(candidate, kl, True)
    return Step(weights, 0.0, False)
