"""torch.func.grad without torch's compiler, which takes longer to import than the rest of torch.

`torch.func.grad` disables compiled backward passes while it computes, and importing them is how it does so. As long as
the compiler is not imported, nothing can be compiled and there is nothing to disable.
"""

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo"


class _CompiledBackward(ModuleType):
    def _disable(self) -> AbstractContextManager[None]:
        return nullcontext()

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


class _Compiler(ModuleType):
    """Stands for the compiler until something else is asked of it; importing it puts the real one in its place."""

    def __getattr__(self, name: str) -> Any:
        if name == "compiled_autograd" and _COMPILER not in sys.modules:
            return _CompiledBackward(f"{_COMPILER}.compiled_autograd")
        return getattr(importlib.import_module(_COMPILER), name)


def grad(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what `torch.func.grad` returns: the gradient of a scalar function by its first argument."""
    _postpone_the_compiler()
    return torch.func.grad(function)


def grad_and_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what `torch.func.grad_and_value` returns."""
    _postpone_the_compiler()
    return torch.func.grad_and_value(function)


def _postpone_the_compiler() -> None:
    if _COMPILER not in sys.modules and "_dynamo" not in vars(torch):
        torch._dynamo = _Compiler(_COMPILER)
