"""Derivatives as operators that every format has: slices, products, ordinary convolutions.

A traced inner step contains the backward operators of torch. ONNX, TensorFlow and LiteRT have none of them, and their
transposed convolutions do not take a weight or a size that is computed at run time. Each function here has the
signature of the operator that it replaces.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions

from metarun.errors import UserError

_aten = torch.ops.aten
NEWTON_STEPS = 30  # of the inverse; converges quadratically, so enough up to condition numbers of 1e7
REFINEMENTS = 2  # of the solution, which bring it to the accuracy of a factorisation


def decompositions(adapts_network: bool) -> dict[Any, Callable[..., Any]]:
    """Return the table for `make_fx`: what each operator is replaced with.

    Args:
        adapts_network: whether a gradient goes through the network, and so through its pooling.
    """
    from_torch = get_decompositions(
        [
            *(_aten.native_batch_norm, _aten.native_batch_norm_backward, _aten.batch_norm_backward),
            *(_aten._native_batch_norm_legit, _aten._native_batch_norm_legit.no_stats),
            *(_aten.log_softmax, _aten._log_softmax, _aten._log_softmax_backward_data, _aten._softmax_backward_data),
            *(_aten.threshold_backward, _aten.addmm, _aten.t, _aten.addcmul, _aten.logsumexp),
            *(_aten.native_group_norm, _aten.native_layer_norm, _aten.log_sigmoid_forward, _aten.masked_fill),
        ]
    )
    pooling = {
        _aten.max_pool2d_with_indices.default: max_pool,
        _aten.max_pool2d_with_indices_backward.default: max_pool_backward,
    }
    return {
        **core_aten_decompositions(),
        **from_torch,
        **(pooling if adapts_network else {}),
        _aten.convolution_backward.default: convolution_backward,
        _aten._native_batch_norm_legit_no_training.default: batch_norm_with_running_statistics,
        _aten.linalg_cholesky_ex.default: cholesky,
        _aten.cholesky_solve.default: cholesky_solve,
    }


def convolution_backward(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: object,  # noqa: ARG001, the signature of the operator
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: object,  # noqa: ARG001
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of a convolution with respect to x, weight and bias, each None unless wanted.

    Args:
        g: (n, out, h', w') the gradient with respect to the output.
        x: (n, in, h, w).
        weight: (out, in, kh, kw).
    """
    if transposed or groups != 1 or list(dilation) != [1, 1] or x.ndim != 4:
        raise UserError(
            "the gradient of a convolution that is transposed, grouped or dilated cannot be exported",
            "export a method that does not adapt the network, such as protonet or anil.",
        )
    of_x = _gradient_of_input(g, x, weight, stride, padding) if wanted[0] else None
    of_weight = _gradient_of_weight(g, x, weight, stride, padding) if wanted[1] else None
    return of_x, of_weight, g.sum((0, 2, 3)) if wanted[2] else None


def _gradient_of_weight(g: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Return (out, in, kh, kw): the product of g with the pixels that each place of the kernel was applied to."""
    (out, inputs, kh, kw), (height, width) = weight.shape, g.shape[2:]
    padded = F.pad(x, (padding[1], padding[1] + stride[1], padding[0], padding[0] + stride[0]))
    seen = [
        padded[:, :, i : i + stride[0] * height : stride[0], j : j + stride[1] * width : stride[1]]
        for i in range(kh)
        for j in range(kw)
    ]  # (n, in, h', w') each
    pixels = torch.cat(seen, 1).permute(1, 0, 2, 3).reshape(kh * kw * inputs, -1)
    product = g.permute(1, 0, 2, 3).reshape(out, -1) @ pixels.T  # (out, kh * kw * in)
    return product.reshape(out, kh, kw, inputs).permute(0, 3, 1, 2)


def _gradient_of_input(g: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """Return (n, in, h, w): the convolution of g, with zeros between its pixels, with the flipped kernel."""
    (kh, kw), (height, width) = weight.shape[2:], x.shape[2:]
    spread = _spread(_spread(g, 2, stride[0]), 3, stride[1])
    top, left = kh - 1 - padding[0], kw - 1 - padding[1]
    bottom, right = height + padding[0] - spread.shape[2], width + padding[1] - spread.shape[3]
    spread = F.pad(spread, (left, max(0, right), top, max(0, bottom)))
    spread = spread[:, :, : height + kh - 1, : width + kw - 1]
    flipped = weight.flip(2, 3).transpose(0, 1)
    found: Tensor = _aten.convolution(spread, flipped, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    return found


def _spread(x: Tensor, dim: int, stride: int) -> Tensor:
    """Put `stride - 1` zeros behind every entry of a dimension."""
    if stride == 1:
        return x
    zeros = torch.zeros_like(x)
    stacked = torch.stack([x] + [zeros] * (stride - 1), dim + 1)
    return stacked.reshape(*x.shape[:dim], x.shape[dim] * stride, *x.shape[dim + 1 :])


def max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Any:
    """Return the maxima of 2x2 windows and which pixel of its window each is; other windows are left to torch."""
    if not _is_halving(kernel, stride, padding, dilation, ceil_mode):
        return NotImplemented
    n, channels, height, width = x.shape
    rows, columns = height // 2, width // 2
    windows = x[:, :, : 2 * rows, : 2 * columns].reshape(n, channels, rows, 2, columns, 2)
    stacked = torch.stack([windows[:, :, :, i, :, j] for i in (0, 1) for j in (0, 1)], -1)
    return stacked.amax(-1), stacked.argmax(-1)  # the first of equal ones, as torch does


def max_pool_backward(
    g: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    which: Tensor,
) -> Tensor:
    """Return the gradient of `max_pool` with respect to x."""
    if not _is_halving(kernel, stride, padding, dilation, ceil_mode):
        raise UserError(
            f"the gradient of max-pooling with windows of {tuple(kernel)} cannot be exported, only that of 2x2",
            "export a method that does not adapt the network, such as protonet or anil.",
        )
    n, channels, height, width = x.shape
    rows, columns = height // 2, width // 2
    parts = [g * (which == i).to(g.dtype) for i in range(4)]
    top, bottom = (torch.stack(parts[i : i + 2], -1).reshape(n, channels, rows, 2 * columns) for i in (0, 2))
    whole = torch.stack([top, bottom], 3).reshape(n, channels, 2 * rows, 2 * columns)
    return F.pad(whole, (0, width - 2 * columns, 0, height - 2 * rows))


def _is_halving(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool
) -> bool:
    return (list(kernel), list(stride or kernel), list(padding), list(dilation), ceil_mode) == (
        *([2, 2], [2, 2], [0, 0], [1, 1]),
        False,
    )


def batch_norm_with_running_statistics(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    momentum: float,  # noqa: ARG001, the signature of the operator
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised maps, as one product and one sum per channel."""
    per_channel = (1, -1, *(1,) * (x.ndim - 2))
    factor = (variance + epsilon).rsqrt() * weight
    found = x * factor.view(per_channel) + (bias - mean * factor).view(per_channel)
    return found, x.new_zeros(0), x.new_zeros(0)


def cholesky(matrix: Tensor, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """Return the matrix in place of its factor: `cholesky_solve` takes it."""
    return matrix.clone(), matrix.new_zeros((), dtype=torch.int32)


def cholesky_solve(right: Tensor, matrix: Tensor, upper: bool = False) -> Tensor:  # noqa: ARG001
    """Solve matrix @ x = right by products alone: no format has a factorisation of a size known at run time.

    Newton's iteration for the inverse (Schulz 1933), X <- X (2 I - A X), which converges for symmetric positive
    definite A from I / |A|, then steps of iterative refinement.

    Args:
        right: (n, columns).
        matrix: (n, n), symmetric and positive definite.
    """
    size = matrix.shape[0]
    twice = 2 * torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    inverse = twice / (2 * matrix.abs().sum(1).amax(0))  # the largest row sum bounds the eigenvalues
    for _ in range(NEWTON_STEPS):
        inverse = inverse @ (twice - matrix @ inverse)
    found = inverse @ right
    for _ in range(REFINEMENTS):
        found = found + inverse @ (right - matrix @ found)
    return found
