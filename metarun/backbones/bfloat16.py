"""Compute networks in bfloat16, with float32 weights, inputs and outputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metarun.system.inputs import first_field

# Most operations that autocast runs in bfloat16, as called from Python.
_PRODUCTS = {
    *(F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    *(F.linear, F.scaled_dot_product_attention, torch.einsum, torch.matmul, torch.mm, torch.bmm, torch.addmm),
    *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm),
}
# Torch's norms, which under vmap fail on mixed dtypes.
_STATISTICS = {F.batch_norm, F.group_norm, F.instance_norm, F.layer_norm}

_entered: list[AbstractContextManager[None]] = []  # of the current calls, the innermost last


def compute_in_bfloat16(network: nn.Module) -> None:
    """Run every call of a network under torch.autocast from now on.

    Only the calls: heads, losses, solvers and inner steps stay in float32, and so do their gradients, because a
    backward pass uses the dtype of its forward pass. A network in float64 still computes in float64.
    """
    # Hooks instead of a wrapper: weights keep their names, and a copy of the network keeps its hooks.
    network.register_forward_pre_hook(_enter)
    network.register_forward_hook(_leave, always_call=True)


@contextmanager
def match_precision(network: nn.Module, x: Tensor) -> Iterator[None]:
    """Within the block, compute in the dtype of the network's calls, for computations outside of a call."""
    if _enter in network._forward_pre_hooks.values():
        with _bfloat16(x):
            yield
    else:
        yield


def upcast(x: Tensor) -> Tensor:
    """Convert bfloat16 to float32, for statistics and losses; return other dtypes unchanged."""
    return x.float() if x.dtype == torch.bfloat16 else x


class _Autocast(TorchFunctionMode):
    """Does what autocast does, because vmap bypasses autocast (torch 2.13).

    The operands of products become bfloat16; statistics are computed in float32 and converted back to bfloat16.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in _PRODUCTS:
            return func(*map(_to_bfloat16, args), **{name: _to_bfloat16(value) for name, value in named.items()})
        if func in _STATISTICS and args and args[0].dtype == torch.bfloat16:
            return func(args[0].float(), *args[1:], **named).bfloat16()
        return func(*args, **named)


def _to_bfloat16(x: Any) -> Any:
    return x.bfloat16() if isinstance(x, Tensor) and x.dtype == torch.float32 else x


@contextmanager
def _bfloat16(x: Tensor) -> Iterator[None]:
    # Do not cache cast weights: inside `grad` and `vmap` the next task would get those of the last one.
    with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False), _Autocast():
        yield


def _enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
    _entered.append(_bfloat16(first_field(inputs[0])))
    _entered[-1].__enter__()


def _leave(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
    _entered.pop().__exit__(None, None, None)
    return upcast(output) if isinstance(output, Tensor) else output
