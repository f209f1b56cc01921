"""The multi-class support vector machine of Crammer and Singer, solved to high precision and differentiable."""

import torch
import torch.nn.functional as F
from torch import Tensor

ITERATIONS = 30  # each gains a digit or more; after convergence they change nothing
CONVERGED = 1e-20  # mean of mass times slack, relative to C; far below it, divisions fail
RIDGE = 1e-9  # on the kernel's diagonal, relative: the solver needs it for linearly dependent support examples


def dual_coefficients(kernel: Tensor, labels: Tensor, way: int, c: float) -> Tensor:
    """Return the dual solution alpha (examples, way); a query's decision values are its kernel row times alpha.

    It maximises sum_i alpha[i, y_i] - 1/2 tr(alpha' K alpha), where alpha <= C at an example's own class and <= 0 at
    others, and each row sums to 0 (Crammer and Singer 2001). With mass = C onehot - alpha, this is a quadratic program
    over rows that are >= 0 and sum to C, whose Hessian has one block, K, per class. Each Newton step therefore solves
    `way` systems of size `examples` instead of one of size `way * examples`.

    A primal-dual interior point method (Mehrotra's predictor-corrector, a fixed number of steps) finds the solution
    without a graph. One Newton step on the entries that are not at their bound then refines it. Only the right-hand
    side of that step is differentiated, so its gradient is the implicit gradient of the optimality conditions.

    Args:
        kernel: (examples, examples) float64, inner products of support features.
        labels: (examples).
        way: classes.
        c: penalty of margin violations.
    """
    onehot = F.one_hot(labels, way).to(kernel.dtype)
    identity = torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device)
    kernel = kernel + RIDGE * (kernel.detach().diagonal().mean() + 1) * identity
    with torch.no_grad():
        mass, slack = _interior_point(kernel.detach(), onehot, c)
        free = (mass > slack).to(kernel.dtype)  # one of the two is zero at the solution
        mass = mass * free
        inner = free.mT[:, :, None] * free.mT[:, None, :]  # (way, examples, examples)
        pinned = torch.diag_embed(1 - free.mT)  # keeps the matrix invertible; masked out again below
        inverses = torch.cholesky_inverse(_factor(inner * kernel.detach() + pinned)) * inner
    slope = onehot - kernel @ (c * onehot - mass)  # of the objective in `mass`; carries the gradient
    mass = mass + _newton(inverses, slope, c - mass.sum(1))
    return c * onehot - mass


def _interior_point(kernel: Tensor, onehot: Tensor, c: float) -> tuple[Tensor, Tensor]:
    """Return mass (examples, way), positive with rows that sum to c, and slack, its multipliers."""
    way = onehot.shape[1]
    mass = torch.full_like(onehot, c / way)
    slack = onehot - kernel @ (c * onehot - mass)
    slack = slack - slack.amin(1, keepdim=True) + 1  # start in the interior: the multiplier of the equality is free
    no_excess = torch.zeros_like(mass[:, 0])
    for _ in range(ITERATIONS):
        gap = (mass * slack).mean()
        factors = _factor(kernel + torch.diag_embed((slack / mass).mT))
        inverses = torch.cholesky_inverse(factors)  # (way, examples, examples)
        # Predictor: a full step towards the solution. Its feasible length determines how much to centre.
        mass_step = _newton(inverses, slack, no_excess)
        slack_step = -slack - slack / mass * mass_step
        length = torch.minimum(_longest(mass, mass_step), _longest(slack, slack_step))
        ahead = ((mass + length * mass_step) * (slack + length * slack_step)).mean()
        # Corrector: adds centring and the predictor's second-order error.
        excess = slack - ((ahead / gap) ** 3 * gap - mass_step * slack_step) / mass
        mass_step = _newton(inverses, excess, no_excess)
        slack_step = -excess - slack / mass * mass_step
        # One length for both, to keep primal and dual conditions consistent.
        length = 0.99 * torch.minimum(_longest(mass, mass_step), _longest(slack, slack_step))
        length = torch.where(gap > CONVERGED * c, length, 0.0)
        mass, slack = mass + length * mass_step, slack + length * slack_step
    return mass, slack


def _newton(inverses: Tensor, slope: Tensor, missing: Tensor) -> Tensor:
    """Return the step (examples, way) after which the slope is zero and whose rows sum to `missing` (examples).

    Args:
        inverses: (way, examples, examples), of each class's Hessian.
        slope: (examples, way).
        missing: (examples).
    """
    unbound = -_per_class(inverses, slope)
    factor = _factor(inverses.sum(0))
    multiplier = torch.cholesky_solve((unbound.sum(1) - missing)[:, None], factor)  # (examples, 1)
    return unbound - _per_class(inverses, multiplier.expand_as(slope))


def _per_class(matrices: Tensor, columns: Tensor) -> Tensor:
    return (matrices @ columns.mT[:, :, None]).squeeze(-1).mT


def _longest(values: Tensor, step: Tensor) -> Tensor:
    """Return the largest step length up to 1 at which no value is below 0."""
    lengths = torch.where(step < 0, -values / torch.where(step < 0, step, -1.0), 1.0)
    return lengths.amin().clamp(max=1.0)


def _factor(matrices: Tensor) -> Tensor:
    factors: Tensor = torch.linalg.cholesky_ex(matrices)[0]  # `_ex` does not synchronise to check for errors
    return factors
