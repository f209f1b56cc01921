"""Networks that compute in bfloat16, while their weights, what goes in and what comes out are float32."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Most of the operations that autocast takes in bfloat16, as Python calls them.
_PRODUCTS = {
    *(F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    *(F.linear, F.scaled_dot_product_attention, torch.einsum, torch.matmul, torch.mm, torch.bmm, torch.addmm),
    *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm),
}
# Torch's own norms, which vmap cannot take with numbers of two kinds.
_STATISTICS = {F.batch_norm, F.group_norm, F.instance_norm, F.layer_norm}

_entered: list[AbstractContextManager[None]] = []  # by the calls at hand, the innermost last


def compute_in_bfloat16(network: nn.Module) -> None:
    """Let every call of a network run under torch.autocast, for good.

    Nothing but the calls: heads, losses, solvers and inner steps stay in float32, and so do their gradients, since
    a backward pass is taken in the numbers of its forward pass. A network in float64 is left to compute in float64.
    """
    # Hooks, and not a wrapper: weights keep their names, and a copy of the network keeps its hooks.
    network.register_forward_pre_hook(_enter)
    network.register_forward_hook(_leave, always_call=True)


@contextmanager
def match_precision(network: nn.Module, x: Tensor) -> Iterator[None]:
    """Within the block compute in the numbers that a call of the network would, for what is not done by a call."""
    if _enter in network._forward_pre_hooks.values():
        with _bfloat16(x):
            yield
    else:
        yield


def upcast(x: Tensor) -> Tensor:
    """Return bfloat16 as float32, in which statistics and losses are computed; other numbers as they are."""
    return x.float() if x.dtype == torch.bfloat16 else x


class _Autocast(TorchFunctionMode):
    """Does what autocast does, where vmap keeps that from being reached (torch 2.13).

    What products are of becomes bfloat16; what statistics are taken of becomes float32, and bfloat16 again.
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
    # Weights that were cast are not kept: inside `grad` and `vmap` the next task's would be taken for them.
    with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False), _Autocast():
        yield


def _enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
    _entered.append(_bfloat16(inputs[0]))
    _entered[-1].__enter__()


def _leave(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
    _entered.pop().__exit__(None, None, None)
    return upcast(output) if isinstance(output, Tensor) else output
