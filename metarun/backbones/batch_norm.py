"""Batch normalisation with correct derivatives of every order, in a loop or vectorised over tasks."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

_aten = torch.ops.aten


def batch_norm(x: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Normalise by the statistics of the batch: scale * (x - mean) / sqrt(variance + epsilon) + shift.

    Computes the same as torch.nn.functional.batch_norm in training, with the same kernels. Torch's second derivative is
    wrong under vmap (torch 2.13) and takes many passes over the maps; this one takes few.

    Args:
        x: (n, channels, ...), with more than one number per channel.
        scale: (channels).
        shift: (channels).
        epsilon: added to the variance.
    """
    return cast(Tensor, _Forward.apply(x, scale, shift, epsilon)[0])  # type: ignore[no-untyped-call]


class _Folding(Function):
    """A function of maps (n, channels, ...), of numbers (channels) and, last, of settings; it returns maps and numbers.

    Each channel is computed by itself, so tasks can be further channels.
    """

    @classmethod
    def vmap(cls, info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
        """See `torch.autograd.Function.vmap`."""
        *tensors, settings = inputs
        folded = [_fold(each, dim, info.batch_size) for each, dim in zip(tensors, dims, strict=False)]
        found = cls.apply(*folded, settings)  # type: ignore[no-untyped-call]
        dims = tuple(_channels(each.ndim) for each in found)
        return tuple(each.unflatten(dim, (info.batch_size, -1)) for each, dim in zip(found, dims, strict=True)), dims


class _Forward(_Folding):
    """Returns the normalised maps, and the mean and 1 / standard deviation of each channel."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        return cast(
            tuple[Tensor, Tensor, Tensor], _aten.native_batch_norm(x, scale, shift, None, None, True, 0.0, epsilon)
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, scale, _, ctx.epsilon = inputs
        _, mean, inverse = output
        ctx.mark_non_differentiable(mean, inverse)
        ctx.save_for_backward(x, scale, mean, inverse)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean, inverse = ctx.saved_tensors
        return (*_Backward.apply(gradients[0], x, scale, mean, inverse, ctx.epsilon), None)  # type: ignore[no-untyped-call]


class _Backward(_Folding):
    """Returns the gradients with respect to x, scale and shift, and can itself be differentiated.

    With h the maps before scale and shift, r = 1 / standard deviation, and P(v) = v - mean(v) - h mean(v h), the
    gradients are scale r P(g) for x, sum(g h) for scale and sum(g) for shift.
    """

    @staticmethod
    def forward(
        g: Tensor, x: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted = (True, True, True)
        found = _aten.native_batch_norm_backward(g, x, scale, None, None, mean, inverse, True, epsilon, wanted)
        return cast(tuple[Tensor, Tensor, Tensor], found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.epsilon = inputs
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, of_scale, of_shift = gradients
        g, x, scale, mean, inverse, g_h, g_sum = ctx.saved_tensors
        numbers = (scale, mean, inverse, g_h, g_sum)
        return (*second_derivative(u, of_scale, of_shift, g, x, *numbers, ctx.epsilon), None, None, None)


def second_derivative(
    u: Tensor,
    of_scale: Tensor,
    of_shift: Tensor,
    g: Tensor,
    x: Tensor,
    scale: Tensor,
    mean: Tensor,
    inverse: Tensor,
    g_h: Tensor,
    g_sum: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the derivatives of the gradients of `batch_norm` with respect to g, x and scale.

    Args:
        u: gradient with respect to the gradient of x.
        of_scale: gradient with respect to the gradient of scale.
        of_shift: gradient with respect to the gradient of shift.
        g: gradient with respect to the result.
        x: (n, channels, ...).
        scale: (channels), like the following.
        mean: of x.
        inverse: 1 / standard deviation of x.
        g_h: the gradient of scale.
        g_sum: the gradient of shift.
        epsilon: added to the variance.
    """
    over = (0, *range(2, x.ndim))
    if torch.is_grad_enabled():  # for a third derivative, record how these depend on x and g
        mean = x.mean(over)
        centred = x - _broadcast(mean, x)
        inverse = (centred.square().mean(over) + epsilon).rsqrt()
        g_h, g_sum = (g * centred).sum(over) * inverse, g.sum(over)
    count = x.numel() // len(mean)
    u_x, u_h, u_sum = _Backward.apply(u, x, scale, mean, inverse, epsilon)  # type: ignore[no-untyped-call]
    to_scale = inverse * ((u * g).sum(over) - (u_sum * g_sum + u_h * g_h) / count)
    by_g = inverse * (of_scale - scale * inverse * u_h / count)
    by_x = -inverse * (inverse * scale * to_scale + by_g * g_h) / count
    to_x = torch.addcmul(_broadcast(-by_x * mean - by_g * g_sum / count, x), x, _broadcast(by_x, x))
    to_x = torch.addcmul(torch.addcmul(to_x, g, _broadcast(by_g, x)), u_x, _broadcast(-inverse * g_h / count, x))
    by_h = of_scale * inverse
    to_g = torch.addcmul(_broadcast(of_shift - by_h * mean, x), x, _broadcast(by_h, x)) + u_x
    return to_g, to_x, to_scale


def _broadcast(each: Tensor, x: Tensor) -> Tensor:
    """Reshape one number per channel to broadcast over maps like x."""
    return each.view(-1, *[1] * (x.ndim - 2))


def _channels(ndim: int) -> int:
    """Return which dimension the channels are of maps, or of numbers."""
    return min(1, ndim - 1)


def _fold(each: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Fold tasks into channels; tasks are in dimension `dim`, None: all tasks share the maps or numbers."""
    if dim is None:
        to = _channels(each.ndim)
        each = each.unsqueeze(to).expand(*each.shape[:to], tasks, *each.shape[to:])
    else:
        to = _channels(each.ndim - 1)
        each = each.movedim(dim, to)
    return each.flatten(to, to + 1)
