"""Normalisation by batch statistics, max-pooling and ReLU as one operation, with derivatives of every order.

The values and the first two derivatives are computed by compiled code, `kernels.cpp`. Third and higher derivatives are
composed of torch operations.
"""

from typing import Any

import torch
from torch import Tensor

from metarun.backbones.batch_norm import second_derivative
from metarun.backbones.fused.kernels import call, dense, empty_outputs, gather, like, sizes_of, spread
from metarun.backbones.fused.over_tasks import LastDerivative, OverTasks

Settings = tuple[int, float, float, bool]  # tasks, epsilon, slope of the leaky ReLU, pooling


def norm_pool_relu(
    x: Tensor, scale: Tensor, shift: Tensor, epsilon: float, slope: float, pool: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute leaky_relu(max_pool(batch_norm(x))) in one pass over the maps and one for the statistics.

    Args:
        x: (n, channels, height, width) on the CPU, float32 or float64; channels last or not.
        scale: (channels).
        shift: (channels).
        epsilon: added to the variance.
        slope: of the leaky ReLU below 0; 0: ReLU, 1: none.
        pool: whether to take the maximum of each 2x2 window.

    Returns:
        the maps, and of each channel the mean and 1 / sqrt(variance + epsilon), without gradients.
    """
    y, _, mean, inverse = _Forward.apply(x, scale, shift, (1, epsilon, slope, pool))  # type: ignore[no-untyped-call]
    return y, mean, inverse


class _Forward(OverTasks):
    """Returns the maps, a code of each output, and the mean and 1 / standard deviation of each channel."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, shift: Tensor, settings: Settings) -> tuple[Tensor, ...]:
        tasks, epsilon, slope, pool = settings
        x = dense(x)
        y = empty_outputs(x, pool)
        code = empty_outputs(x, pool, torch.uint8)
        mean, inverse = torch.empty_like(scale, memory_format=torch.contiguous_format), torch.empty_like(shift)
        call("forward", x, scale, shift, epsilon, slope, tasks, *sizes_of(x, pool, tasks), y, code, mean, inverse)
        return y, code, mean, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, scale, _, ctx.settings = inputs
        _, *constants = output
        ctx.mark_non_differentiable(*constants)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, *constants)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return None, None, None, None
        return (*_Backward.apply(gradients[0], *ctx.saved_tensors, ctx.settings), None)  # type: ignore[no-untyped-call]


class _Backward(OverTasks):
    """Returns the gradients with respect to x, scale and shift, and can itself be differentiated."""

    @staticmethod
    def forward(
        gy: Tensor, x: Tensor, scale: Tensor, code: Tensor, mean: Tensor, inverse: Tensor, settings: Settings
    ) -> tuple[Tensor, Tensor, Tensor]:
        tasks, _, slope, pool = settings
        x = dense(x)
        gy, code = like(x, gy), like(x, code)
        to_x, to_scale, to_shift = torch.empty_like(x), torch.empty_like(mean), torch.empty_like(mean)
        sizes, numbers = (tasks, *sizes_of(x, pool, tasks)), (scale, mean, inverse)
        call("backward", gy, x, code, *numbers, slope, *sizes, to_x, to_scale, to_shift)
        return to_x, to_scale, to_shift

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.settings = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        gy, x, scale, code, mean, inverse, g_h, g_sum = ctx.saved_tensors
        u, of_scale, of_shift = (
            torch.zeros_like(like) if each is None else each
            for each, like in zip(gradients, (x, scale, scale), strict=True)
        )
        if torch.is_grad_enabled():  # for a third derivative
            tasks, epsilon, slope, pool = ctx.settings
            g = spread(gy, x, code, slope, pool)
            u, g, maps = (_as_channels(each, tasks) for each in (u, g, x))
            to_g, to_x, to_scale = second_derivative(
                u, of_scale, of_shift, g, maps, scale, mean, inverse, g_h, g_sum, epsilon
            )
            to_g, to_x = (_as_images(each, tasks) for each in (to_g, to_x))
            return gather(to_g, code, slope, pool), to_x, to_scale, None, None, None, None
        tensors = (u, of_scale, of_shift, gy, x, scale, code, mean, inverse, g_h, g_sum)
        return (*_Second.apply(*tensors, ctx.settings), None, None, None, None)  # type: ignore[no-untyped-call]


class _Second(LastDerivative):
    """Returns the derivatives of `_Backward` with respect to gy, x and scale; not differentiable."""

    @staticmethod
    def forward(u: Tensor, of_scale: Tensor, of_shift: Tensor, gy: Tensor, x: Tensor, *others: Any) -> Any:
        scale, code, mean, inverse, g_h, g_sum, (tasks, _, slope, pool) = others
        x = dense(x)
        u, gy, code = like(x, u), like(x, gy), like(x, code)
        to_gy, to_x, to_scale = torch.empty_like(gy), torch.empty_like(x), torch.empty_like(mean)
        numbers = (mean, inverse, g_h, g_sum)
        sizes = (tasks, *sizes_of(x, pool, tasks))
        call("second", u, of_scale, of_shift, gy, x, code, scale, *numbers, slope, *sizes, to_gy, to_x, to_scale)
        return to_gy, to_x, to_scale


def _as_channels(maps: Tensor, tasks: int) -> Tensor:
    """Return maps (tasks * n, channels, ...) as (n, tasks * channels, ...)."""
    return maps.view(tasks, -1, *maps.shape[1:]).transpose(0, 1).flatten(1, 2)


def _as_images(maps: Tensor, tasks: int) -> Tensor:
    """Return the inverse of `_as_channels`."""
    return maps.view(len(maps), tasks, -1, *maps.shape[2:]).transpose(0, 1).flatten(0, 1)
