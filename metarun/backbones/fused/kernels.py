"""Call the compiled code, and what the codes of outputs in `kernels.cpp` mean in torch's operations."""

import ctypes

import torch
from torch import Tensor

from metarun.backbones.fused.library import library


def dense(x: Tensor) -> Tensor:
    """Return x in a layout that the code knows."""
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def _format(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def like(x: Tensor, other: Tensor) -> Tensor:
    """Return `other` in the layout of x."""
    return other.contiguous(memory_format=_format(x))


def empty_outputs(x: Tensor, pool: bool, dtype: torch.dtype | None = None) -> Tensor:
    """Return empty outputs of x."""
    n, channels, height, width = x.shape
    sizes = (n, channels, height // 2, width // 2) if pool else x.shape
    return torch.empty(sizes, dtype=dtype or x.dtype, memory_format=_format(x))


def sizes_of(x: Tensor, pool: bool, tasks: int = 1) -> tuple[int, ...]:
    """Return the arguments that describe x: the shape of a task, its layout, pooling, and threads."""
    return (len(x) // tasks, *x.shape[1:], int(not x.is_contiguous()), int(pool), threads_for(x.numel()))


def threads_for(numbers: int) -> int:
    """Return how many threads to use for so many numbers."""
    return torch.get_num_threads() if numbers >= 2**15 else 1


def call(name: str, *arguments: Tensor | float | int) -> None:
    """Call a function of the library for the type of the tensors; it writes into the last ones."""
    of_type = "double" if any(a.dtype == torch.float64 for a in arguments if isinstance(a, Tensor)) else "float"
    kept = [a.contiguous() if isinstance(a, Tensor) and a.ndim < 4 else a for a in arguments]
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


def spread(gy: Tensor, x: Tensor, code: Tensor, slope: float, pool: bool) -> Tensor:
    """Return the gradient with respect to the normalised maps, from that with respect to the outputs."""
    g = gy * _factor(code, slope, gy.dtype)
    if not pool:
        return g
    rows = [torch.stack([g * (code & 3 == 2 * i + j) for j in range(2)], -1).flatten(-2) for i in range(2)]
    spread = torch.stack(rows, -2).flatten(-3, -2)  # (n, channels, 2 * rows, 2 * columns)
    right, below = x.shape[-1] - spread.shape[-1], x.shape[-2] - spread.shape[-2]
    return torch.nn.functional.pad(spread, (0, right, 0, below))


def gather(to_g: Tensor, code: Tensor, slope: float, pool: bool) -> Tensor:
    """Return the transpose of `spread`, as a function of the gradient with respect to the normalised maps."""
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
