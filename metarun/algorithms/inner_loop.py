"""The inner loop of gradient-based methods: gradient steps on one task's support loss."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import grad

from metarun.errors import UserError

Parameters = dict[str, Tensor]
Loss = Callable[..., Tensor]  # of weights, then of whatever else it is given


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
        gradient = grad(loss)(weights, *inputs)
    if isinstance(rate, Mapping):
        return {name: weight - rate[name] * gradient[name] for name, weight in weights.items()}
    return {name: weight - rate * gradient[name] for name, weight in weights.items()}


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


def network_weights(algorithm: nn.Module) -> Parameters:
    """Return the weights of an algorithm's backbone and head, without what it learns about adapting them."""
    weights = dict(algorithm.named_parameters())
    return {name: weight for name, weight in weights.items() if name.split(".")[0] in ("backbone", "head")}


def check_inner_loop(method: str, inner_steps: int, order: int) -> None:
    """Raise a UserError if `algo.inner_steps` or `algo.order` is out of range."""
    if order not in (1, 2):
        raise UserError(f"algo.order={order} is not 1 (first-order) or 2 (exact).")
    if inner_steps < 1:
        raise UserError(
            f"algo.inner_steps={inner_steps} but {method} learns through at least 1 step; raise `algo.inner_steps`."
        )
