"""Process-wide torch settings of a run: deterministic operations and TF32."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.backends.cudnn.rnn

from metarun.errors import UserError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # read when the GPU is first used; the value below makes cuBLAS deterministic
CUBLAS_WORKSPACE = ":4096:8"

# The backends that control TF32. By default torch allows it in convolutions and forbids it in matrix products.
_cuda: Any = torch.backends.cuda
_cudnn: Any = torch.backends.cudnn
_TF32_BACKENDS: tuple[Any, ...]
if hasattr(torch.backends, "fp32_precision"):
    _TF32_BACKENDS, _TF32_ATTRIBUTE = (_cuda.matmul, _cudnn.conv, _cudnn.rnn), "fp32_precision"
    _VALUES: dict[bool, Any] = {True: "tf32", False: "ieee"}
else:  # before torch 2.9
    _TF32_BACKENDS, _TF32_ATTRIBUTE = (_cuda.matmul, _cudnn), "allow_tf32"
    _VALUES = {True: True, False: False}


@contextmanager
def torch_settings(deterministic: bool, tf32: bool) -> Iterator[None]:
    """Apply torch settings within the block and restore the previous ones afterwards.

    Args:
        deterministic: make operations without a deterministic implementation fail.
        tf32: let the GPU round the factors of float32 matrix products and convolutions to 10 bits.

    Raises:
        UserError: an operation is not deterministic, or the GPU was already used without this setting.
    """
    if deterministic:
        _prepare_cublas()
    tf32_before = [getattr(backend, _TF32_ATTRIBUTE) for backend in _TF32_BACKENDS]
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic, tf32_before
    _apply(deterministic, deterministic, [_VALUES[tf32]] * len(_TF32_BACKENDS))
    try:
        yield
    except RuntimeError as error:
        if not deterministic or not is_determinism_error(error):
            raise
        reason = str(error).partition(",")[0].strip()
        raise UserError(
            f"deterministic=true but {reason}",
            "use a method and a network without this operation, or set deterministic=false.",
        ) from error
    finally:
        _apply(*before)


def is_determinism_error(error: BaseException) -> bool:
    """Whether torch raised this error because an operation has no deterministic implementation."""
    return torch.are_deterministic_algorithms_enabled() and "deterministic" in str(error)


def _apply(deterministic: bool, cudnn_deterministic: bool, tf32: Sequence[Any]) -> None:
    if deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler, a second
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = cudnn_deterministic
    for backend, value in zip(_TF32_BACKENDS, tf32, strict=True):
        setattr(backend, _TF32_ATTRIBUTE, value)


def _prepare_cublas() -> None:
    if torch.cuda.is_initialized() and CUBLAS not in os.environ:  # type: ignore[no-untyped-call]
        raise UserError(
            "deterministic=true must be set before the GPU is first used, but an earlier run of this command used it",
            f"start this run as a command of its own, or set {CUBLAS}={CUBLAS_WORKSPACE} for both.",
        )
    os.environ.setdefault(CUBLAS, CUBLAS_WORKSPACE)
