"""Normalisation by batch statistics, max-pooling and ReLU as one operation, with derivatives of every order.

The values and the first two derivatives are computed by compiled code, `kernels.cpp`. Third and higher derivatives are
composed of torch operations.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from metarun.backbones.batch_norm import fold_maps, fold_numbers, second_derivative
from metarun.backbones.fused.library import library

Settings = tuple[float, float, bool]  # epsilon, slope of the leaky ReLU, pooling


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
    y, _, mean, inverse = _Forward.apply(x, scale, shift, (epsilon, slope, pool))  # type: ignore[no-untyped-call]
    return y, mean, inverse


def scale_pool_relu(x: Tensor, scale: Tensor, shift: Tensor, slope: float, pool: bool) -> Tensor:
    """Compute leaky_relu(max_pool(scale * x + shift)), without gradients; arguments as of `norm_pool_relu`."""
    x = _dense(x)
    y = _like(x, pool)
    _call("affine", x, scale, shift, slope, *_shape(x, pool), y, _like(x, pool, torch.uint8))
    return y


class _Forward(Function):
    """Returns the maps, a code of each output, and the mean and 1 / standard deviation of each channel."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, shift: Tensor, settings: Settings) -> tuple[Tensor, ...]:
        epsilon, slope, pool = settings
        x = _dense(x)
        y = _like(x, pool)
        code = _like(x, pool, torch.uint8)
        mean, inverse = torch.empty_like(scale, memory_format=torch.contiguous_format), torch.empty_like(shift)
        _call("forward", x, scale, shift, epsilon, slope, *_shape(x, pool), y, code, mean, inverse)
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

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], x: Tensor, *others: Any) -> Any:
        scale, shift, settings = others
        tasks = info.batch_size
        folded = (
            fold_maps(x, dims[0], tasks),
            fold_numbers(scale, dims[1], tasks),
            fold_numbers(shift, dims[2], tasks),
        )
        y, code, *statistics = _Forward.apply(*folded, settings)  # type: ignore[no-untyped-call]
        maps = (each.unflatten(1, (tasks, -1)) for each in (y, code))
        return (*maps, *(each.unflatten(0, (tasks, -1)) for each in statistics)), (1, 1, 0, 0)


class _Backward(Function):
    """Returns the gradients with respect to x, scale and shift, and can itself be differentiated."""

    @staticmethod
    def forward(
        gy: Tensor, x: Tensor, scale: Tensor, code: Tensor, mean: Tensor, inverse: Tensor, settings: Settings
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, slope, pool = settings
        x = _dense(x)
        gy, code = _as(x, gy), _as(x, code)
        to_x, to_scale, to_shift = torch.empty_like(x), torch.empty_like(mean), torch.empty_like(mean)
        _call("backward", gy, x, code, scale, mean, inverse, slope, *_shape(x, pool), to_x, to_scale, to_shift)
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
            epsilon, slope, pool = ctx.settings
            g = _spread(gy, x, code, slope, pool)
            to_g, to_x, to_scale = second_derivative(
                u, of_scale, of_shift, g, x, scale, mean, inverse, g_h, g_sum, epsilon
            )
            return _gather(to_g, code, slope, pool), to_x, to_scale, None, None, None, None
        tensors = (u, of_scale, of_shift, gy, x, scale, code, mean, inverse, g_h, g_sum)
        return (*_Second.apply(*tensors, ctx.settings), None, None, None, None)  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
        *tensors, settings = inputs
        tasks = info.batch_size
        folded = [
            (fold_numbers if i in (2, 4, 5) else fold_maps)(each, dim, tasks)
            for i, (each, dim) in enumerate(zip(tensors, dims, strict=False))
        ]
        to_x, *to_numbers = _Backward.apply(*folded, settings)  # type: ignore[no-untyped-call]
        return (to_x.unflatten(1, (tasks, -1)), *(each.unflatten(0, (tasks, -1)) for each in to_numbers)), (1, 0, 0)


class _Second(Function):
    """Returns the derivatives of `_Backward` with respect to gy, x and scale; not differentiable."""

    @staticmethod
    def forward(u: Tensor, of_scale: Tensor, of_shift: Tensor, gy: Tensor, x: Tensor, *others: Any) -> Any:
        scale, code, mean, inverse, g_h, g_sum, (_, slope, pool) = others
        x = _dense(x)
        u, gy, code = _as(x, u), _as(x, gy), _as(x, code)
        to_gy, to_x, to_scale = torch.empty_like(gy), torch.empty_like(x), torch.empty_like(mean)
        numbers = (mean, inverse, g_h, g_sum)
        sizes = _shape(x, pool)
        _call("second", u, of_scale, of_shift, gy, x, code, scale, *numbers, slope, *sizes, to_gy, to_x, to_scale)
        return to_gy, to_x, to_scale

    @staticmethod
    def setup_context(ctx: Any, _: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def vmap(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
        *tensors, settings = inputs
        tasks = info.batch_size
        folded = [
            (fold_maps if i in (0, 3, 4, 6) else fold_numbers)(each, dim, tasks)
            for i, (each, dim) in enumerate(zip(tensors, dims, strict=False))
        ]
        to_gy, to_x, to_scale = _Second.apply(*folded, settings)  # type: ignore[no-untyped-call]
        maps = (each.unflatten(1, (tasks, -1)) for each in (to_gy, to_x))
        return (*maps, to_scale.unflatten(0, (tasks, -1))), (1, 1, 0)


def _spread(gy: Tensor, x: Tensor, code: Tensor, slope: float, pool: bool) -> Tensor:
    """Return the gradient with respect to the normalised maps, from that with respect to the outputs."""
    g = gy * _factor(code, slope, gy.dtype)
    if not pool:
        return g
    rows = [torch.stack([g * (code & 3 == 2 * i + j) for j in range(2)], -1).flatten(-2) for i in range(2)]
    spread = torch.stack(rows, -2).flatten(-3, -2)  # (n, channels, 2 * rows, 2 * columns)
    right, below = x.shape[-1] - spread.shape[-1], x.shape[-2] - spread.shape[-2]
    return torch.nn.functional.pad(spread, (0, right, 0, below))


def _gather(to_g: Tensor, code: Tensor, slope: float, pool: bool) -> Tensor:
    """Return the transpose of `_spread`, as a function of the gradient with respect to the normalised maps."""
    by = _factor(code, slope, to_g.dtype)
    if not pool:
        return to_g * by
    height, width = 2 * code.shape[-2], 2 * code.shape[-1]
    parts = [to_g[..., i:height:2, j:width:2] * (code & 3 == 2 * i + j) for i in range(2) for j in range(2)]
    return torch.stack(parts).sum(0) * by


def _factor(code: Tensor, slope: float, dtype: torch.dtype) -> Tensor:
    """Return the derivative of the leaky ReLU for each output."""
    positive = (code < 4).to(dtype)
    return positive + slope * (1 - positive)


def _dense(x: Tensor) -> Tensor:
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def _format(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def _as(x: Tensor, other: Tensor) -> Tensor:
    return other.contiguous(memory_format=_format(x))


def _like(x: Tensor, pool: bool, dtype: torch.dtype | None = None) -> Tensor:
    """Return empty outputs of x."""
    n, channels, height, width = x.shape
    sizes = (n, channels, height // 2, width // 2) if pool else x.shape
    return torch.empty(sizes, dtype=dtype or x.dtype, memory_format=_format(x))


def _shape(x: Tensor, pool: bool) -> tuple[int, ...]:
    threads = torch.get_num_threads() if x.numel() >= 2**15 else 1
    return (*x.shape, int(not x.is_contiguous()), int(pool), threads)


def _call(name: str, *arguments: Tensor | float | int) -> None:
    of_type = "double" if any(a.dtype == torch.float64 for a in arguments if isinstance(a, Tensor)) else "float"
    kept = [a.contiguous() if isinstance(a, Tensor) and a.ndim == 1 else a for a in arguments]
    getattr(library(), f"{name}_{of_type}")(
        *(
            ctypes.c_void_p(a.data_ptr())
            if isinstance(a, Tensor)
            else ctypes.c_double(a)
            if isinstance(a, float)
            else ctypes.c_int64(a)
            for a in kept
        )
    )
