"""Multinomial logistic regression by a fixed number of tensor operations, so that it works under vmap."""

import torch
import torch.nn.functional as F
from torch import Tensor

NEWTON_STEPS = 20
CONJUGATE_GRADIENT_STEPS = 20  # per Newton step: enough, because the next step corrects the rest
STEP_LENGTHS = tuple(2.0**-i for i in range(12))  # tried along each Newton direction


def fit_logistic_regression(features: Tensor, labels: Tensor, way: int, cost: float) -> tuple[Tensor, Tensor]:
    """Minimise `cost` * the summed cross-entropy + half the squared weights, as scikit-learn does (its C is `cost`).

    The weights are in the span of the features, so only min(n, d) numbers per class are optimised. The offsets are not
    penalised. Newton's method, with its equations solved by preconditioned conjugate gradients.

    Args:
        features: (n, d) of the support set.
        labels: (n).
        way: classes.
        cost: inverse of the penalty's strength.

    Returns:
        (way, d) weights and (way) offsets, which sum to zero.
    """
    n, d = features.shape
    if d <= n:
        return _newton(features, F.one_hot(labels, way).to(features.dtype), cost)
    basis, coordinates = torch.linalg.qr(features.T)  # (d, n), (n, n)
    weights, offsets = _newton(coordinates.T, F.one_hot(labels, way).to(features.dtype), cost)
    return weights @ basis.T, offsets


def _newton(x: Tensor, targets: Tensor, cost: float) -> tuple[Tensor, Tensor]:
    inputs = torch.cat([x, torch.ones_like(x[:, :1])], 1)  # (n, r + 1), the last column for the offsets
    penalised = torch.cat([torch.ones_like(x[0]), torch.zeros_like(x[0, :1])])  # (r + 1)
    lengths = x.new_tensor(STEP_LENGTHS)
    solution = (targets.T @ inputs) * 0  # (way, r + 1)
    for _ in range(NEWTON_STEPS):
        logits = inputs @ solution.T  # (n, way)
        p = torch.softmax(logits, 1)
        residual = -cost * (p - targets).T @ inputs - solution * penalised
        direction = _newton_direction(inputs, p, penalised, cost, residual)
        # The objective is convex, so it decreases at the length where its slope along the direction is closest to zero.
        along = inputs @ direction.T
        moved = torch.softmax(logits + lengths[:, None, None] * along, 2)  # (lengths, n, way)
        penalty = (penalised * direction * (solution + lengths[:, None, None] * direction)).sum((1, 2))
        slope = cost * ((moved - targets) * along).sum((1, 2)) + penalty
        chosen = F.one_hot(slope.abs().argmin(), len(lengths)).to(x.dtype)  # vmap cannot index by data
        solution = solution + (chosen * lengths).sum() * direction
    weights, offsets = solution[:, :-1], solution[:, -1]
    return weights, offsets - offsets.mean()


def _newton_direction(inputs: Tensor, p: Tensor, penalised: Tensor, cost: float, residual: Tensor) -> Tensor:
    """Solve H direction = residual by conjugate gradients; H is the objective's Hessian at probabilities p (n, way)."""
    tiny = torch.finfo(inputs.dtype).tiny
    diagonal = cost * (p * (1 - p)).T @ inputs.square() + penalised
    diagonal = diagonal + torch.finfo(inputs.dtype).eps  # an offset has no curvature if all classes are separated
    direction = torch.zeros_like(residual)
    scaled = _without_common_shift(residual / diagonal)
    search, power = scaled, (residual * scaled).sum()
    for _ in range(CONJUGATE_GRADIENT_STEPS):
        z = inputs @ search.T  # (n, way)
        curved = cost * (p * (z - (p * z).sum(1, keepdim=True))).T @ inputs + search * penalised
        length = power / ((search * curved).sum() + tiny)
        direction = direction + length * search
        residual = residual - length * curved
        scaled = _without_common_shift(residual / diagonal)
        new_power = (residual * scaled).sum()
        search, power = scaled + new_power / (power + tiny) * search, new_power
    return direction


def _without_common_shift(of_weights_and_offsets: Tensor) -> Tensor:
    """Remove a common shift of all offsets: the objective does not depend on it, so nothing determines it."""
    offsets = of_weights_and_offsets[:, -1:]
    return torch.cat([of_weights_and_offsets[:, :-1], offsets - offsets.mean()], 1)
