"""Find what would make the host wait for a GPU, on a machine without one.

PyTorch's device `meta` has tensors without values. What needs a value on the host raises an error there: `float(x)`,
`if x.any()`, `x[x > 0]`, `x.nonzero()`. What `meta` computes although a GPU would be waited for is listed by `waits`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metarun.system import inputs

META = torch.device("meta")
SOLVERS = ("_linalg_check_errors", "_linalg_svd", "_linalg_eigh", "linalg_eig")  # their error codes are looked at
OF_NUMBERS = (torch.tensor, torch.as_tensor, Tensor.new_tensor)  # copied from Python's memory
OF_PLACES = (Tensor.__getitem__, Tensor.__setitem__)


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class _Operations(TorchDispatchMode):
    """Sees operations below `vmap`, `torch.func.grad` and autograd: copies, solvers, masks."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping it imports torch's compiler, which takes seconds

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = function._schema.name.removeprefix("aten::")
        tensors = _tensors(args, kwargs, result)
        if not any(tensor.device == META for tensor in tensors):
            return result
        # A single number on the host is an argument of the kernel, like one of Python.
        on_host = [tensor for tensor in tensors if tensor.device.type == "cpu" and tensor.ndim]
        by_mask = name.startswith("index_put") and any(part.dtype == torch.bool for part in _tensors(args[1]))
        if (on_host and not kwargs.get("non_blocking")) or name in SOLVERS or (by_mask and args[2].ndim):
            self.found.append(f"{name} {[tuple(tensor.shape) for tensor in tensors]}")
        return result


class _Calls(TorchFunctionMode):
    """Sees calls from Python: lists of numbers that become tensors, which are copied below the dispatcher."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        on_device = any(tensor.device == META for tensor in _tensors(args, result))
        by_list = function in OF_PLACES and any(isinstance(leaf, list) for leaf in [args[1], *_parts(args[1])])
        if on_device and (by_list or (function in OF_NUMBERS and not isinstance(args[-1], Tensor))):
            self.found.append(f"{function.__name__} {args[1:] if by_list else args[-1:]}")
        return result


def _parts(places: Any) -> tuple[Any, ...]:
    return places if isinstance(places, tuple) else ()


@contextmanager
def waits() -> Iterator[list[str]]:
    """Within the block, list operations on `meta` for which the host would wait for a GPU.

    Whether memory is pinned is unknown here, so `non_blocking` tells a copy from it; see `pretend_to_pin`.
    """
    found: list[str] = []
    with _Operations(found), _Calls(found):
        yield found


def pretend_to_pin(monkeypatch: Any) -> None:
    """Let `to_device` copy to `meta` as to a GPU."""
    monkeypatch.setattr(inputs, "WITHOUT_WAITING", {"meta"})
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
