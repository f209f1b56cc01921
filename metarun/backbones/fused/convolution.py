"""3x3 convolution of tasks with weights of their own, with derivatives of every order.

Torch computes it as a grouped convolution, whose gradients reach a quarter of the speed of the compiled code here,
`convolution.cpp`. The values and both gradients are linear in each of their inputs, so their derivatives are again each
other.
"""

from typing import Any, cast

import torch
from torch import Tensor

from metarun.backbones.fused.kernels import call, threads_for
from metarun.backbones.fused.over_tasks import OverTasks

Settings = tuple[int, int, int, int]  # tasks, stride, height and width of the inputs


def convolve(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Return the convolution with a border of one zero.

    Args:
        x: (n, channels, height, width) on the CPU, float32 or float64.
        weight: (filters, channels, 3, 3).
        bias: (filters).
        stride: of rows and columns.

    Returns:
        (n, filters, ceil(height / stride), ceil(width / stride)), channels last.
    """
    return cast(Tensor, _Values.apply(x, weight, bias, (1, stride, *x.shape[-2:])))  # type: ignore[no-untyped-call]


class _OfMaps(OverTasks):
    """A function of maps, of weights that several tasks can share, and of settings; it returns maps."""

    @classmethod
    def vmap(cls, info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
        """Compute the examples of all tasks as those of one if they share the weights."""
        maps, *weights, settings = inputs
        shared = all(dim is None for dim in dims[1 : len(inputs) - 1])
        if dims[0] is None or not shared or settings[0] > 1:
            return super().vmap(info, dims, *inputs)
        found = cls.apply(maps.movedim(dims[0], 0).flatten(0, 1), *weights, settings)  # type: ignore[no-untyped-call]
        return found.unflatten(0, (info.batch_size, -1)), 0


class _Values(_OfMaps):
    """Returns the convolution of x by weights, and by biases or none."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
        stride, height, width = settings[1:]
        filters = len(weight) // settings[0]
        y = _empty(x, filters, -(-height // stride), -(-width // stride))
        biases = x.new_zeros(len(weight)) if bias is None else bias
        call("convolve", _last(x), weight.contiguous(), biases, *_sizes(x, weight, settings), y)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        x, weight, bias, ctx.settings = inputs
        ctx.has_bias = bias is not None
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), settings = ctx.saved_tensors, ctx.settings
        wanted = ctx.needs_input_grad
        to_x = _ToInput.apply(g, weight, settings) if wanted[0] else None  # type: ignore[no-untyped-call]
        to_weight, to_bias = _ToWeight.apply(x, g, settings) if any(wanted[1:]) else (None, None)  # type: ignore[no-untyped-call]
        return to_x, to_weight, to_bias if ctx.has_bias else None, None


class _ToInput(_OfMaps):
    """Returns the gradient with respect to x."""

    @staticmethod
    def forward(g: Tensor, weight: Tensor, settings: Settings) -> Tensor:
        x = _empty(g, weight.shape[1], *settings[2:])
        call("convolution_to_input", _last(g), weight.contiguous(), *_sizes(x, weight, settings), x)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: Tensor) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (g, weight), settings = ctx.saved_tensors, ctx.settings
        wanted = ctx.needs_input_grad
        to_g = _Values.apply(u, weight, None, settings) if wanted[0] else None  # type: ignore[no-untyped-call]
        to_weight = _ToWeight.apply(u, g, settings)[0] if wanted[1] else None  # type: ignore[no-untyped-call]
        return to_g, to_weight, None


class _ToWeight(OverTasks):
    """Returns the gradients with respect to the weights and the biases."""

    @staticmethod
    def forward(x: Tensor, g: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        weight = x.new_empty(settings[0] * g.shape[1], x.shape[1], 3, 3)
        bias = x.new_empty(len(weight))
        call("convolution_to_weight", _last(x), _last(g), *_sizes(x, weight, settings), weight, bias)
        return weight, bias

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _: tuple[Tensor, ...]) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, of_weight: Tensor, of_bias: Tensor) -> tuple[Tensor | None, ...]:
        (x, g), settings = ctx.saved_tensors, ctx.settings
        wanted = ctx.needs_input_grad
        to_x = _ToInput.apply(g, of_weight, settings) if wanted[0] else None  # type: ignore[no-untyped-call]
        to_g = _Values.apply(x, of_weight, of_bias, settings) if wanted[1] else None  # type: ignore[no-untyped-call]
        return to_x, to_g, None


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _empty(maps: Tensor, channels: int, height: int, width: int) -> Tensor:
    return maps.new_empty(len(maps), height, width, channels).permute(0, 3, 1, 2)


def _sizes(x: Tensor, weight: Tensor, settings: Settings) -> tuple[int, ...]:
    """Return the arguments that describe the maps and the threads."""
    tasks, stride, height, width = settings
    filters, channels = len(weight) // tasks, weight.shape[1]
    threads = threads_for(max(x.numel(), weight.numel()))
    return (tasks, len(x) // tasks, channels, filters, height, width, stride, threads)
