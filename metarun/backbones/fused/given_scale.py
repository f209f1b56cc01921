"""A given scale and shift, max-pooling and ReLU as one operation, and moments, with derivatives of every order.

Each example and channel has its own scale and shift. Any norm amounts to that: its statistics give the scale and shift.
As in `operation.py`, third and higher derivatives are composed of torch's operations.
"""

from typing import Any, cast

import torch
from torch import Tensor

from metarun.backbones.fused.kernels import call, dense, empty_outputs, gather, like, sizes_of, spread
from metarun.backbones.fused.over_tasks import LastDerivative, OverTasks

Settings = tuple[int, float, bool]  # tasks, slope of the leaky ReLU, pooling


def scale_pool_relu(x: Tensor, scale: Tensor, shift: Tensor, slope: float, pool: bool) -> Tensor:
    """Compute leaky_relu(max_pool(scale * x + shift)).

    Args:
        x: (n, channels, height, width) on the CPU, float32 or float64; channels last or not.
        scale: (n, channels).
        shift: (n, channels).
        slope: of the leaky ReLU below 0; 0: ReLU, 1: none.
        pool: whether to take the maximum of each 2x2 window.
    """
    return cast(Tensor, _Forward.apply(x, scale, shift, (1, slope, pool))[0])  # type: ignore[no-untyped-call]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the biased variance (n, channels) of maps (n, channels, height, width)."""
    return cast(tuple[Tensor, Tensor], _Moments.apply(x, (1,)))  # type: ignore[no-untyped-call]


class _Forward(OverTasks):
    """Returns the maps and a code of each output."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, shift: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        _, slope, pool = settings
        x = dense(x)
        y, code = empty_outputs(x, pool), empty_outputs(x, pool, torch.uint8)
        call("given_forward", x, scale, shift, slope, *sizes_of(x, pool), y, code)
        return y, code

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, scale, _, ctx.settings = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return None, None, None, None
        return (*_Backward.apply(gradients[0], *ctx.saved_tensors, ctx.settings), None)  # type: ignore[no-untyped-call]


class _Backward(OverTasks):
    """Returns the gradients with respect to x, scale and shift, and can itself be differentiated."""

    @staticmethod
    def forward(
        gy: Tensor, x: Tensor, scale: Tensor, code: Tensor, settings: Settings
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, slope, pool = settings
        x = dense(x)
        gy, code = like(x, gy), like(x, code)
        to_x, to_scale, to_shift = torch.empty_like(x), x.new_empty(x.shape[:2]), x.new_empty(x.shape[:2])
        call("given_backward", gy, x, code, scale, slope, *sizes_of(x, pool), to_x, to_scale, to_shift)
        return to_x, to_scale, to_shift

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: tuple[Tensor, ...]) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, of_scale, of_shift = gradients
        gy, x, scale, code = ctx.saved_tensors
        if not torch.is_grad_enabled():
            found = _Second.apply(*gradients, gy, x, scale, code, ctx.settings)  # type: ignore[no-untyped-call]
            return (*found, None, None)
        g = spread(gy, x, code, *ctx.settings[1:])
        by_scale, by_x, by_shift = (each[..., None, None] for each in (scale, of_scale, of_shift))
        to_g = by_scale * u + by_x * x + by_shift
        return gather(to_g, code, *ctx.settings[1:]), by_x * g, (u * g).sum((2, 3)), None, None


class _Second(LastDerivative):
    """Returns the derivatives of `_Backward` with respect to gy, x and scale; not differentiable."""

    @staticmethod
    def forward(u: Tensor, of_scale: Tensor, of_shift: Tensor, gy: Tensor, x: Tensor, *others: Any) -> Any:
        scale, code, (_, slope, pool) = others
        x = dense(x)
        u, gy, code = like(x, u), like(x, gy), like(x, code)
        to_gy, to_x, to_scale = torch.empty_like(gy), torch.empty_like(x), x.new_empty(x.shape[:2])
        sizes = sizes_of(x, pool)
        call("given_second", u, of_scale, of_shift, gy, x, code, scale, slope, *sizes, to_gy, to_x, to_scale)
        return to_gy, to_x, to_scale


class _Moments(OverTasks):
    """Returns the mean and the variance of each example and channel."""

    @staticmethod
    def forward(x: Tensor, _: tuple[int]) -> tuple[Tensor, Tensor]:
        x = dense(x)
        mean, variance = x.new_empty(x.shape[:2]), x.new_empty(x.shape[:2])
        call("moments", x, *sizes_of(x, False), mean, variance)
        return mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, mean = ctx.saved_tensors
        if torch.is_grad_enabled():  # record how it depends on x
            mean = x.mean((2, 3))
        count = x.shape[2] * x.shape[3]
        by_mean, by_x = gradients[0] / count, 2 * gradients[1] / count
        constant = by_mean - by_x * mean
        return torch.addcmul(constant[..., None, None], x, by_x[..., None, None]), None
