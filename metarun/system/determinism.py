"""Torch's switches for the whole process, as one run wants them: deterministic operations, and TF32."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.backends.cudnn.rnn

from metarun.errors import UserError

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # read when the GPU is first used; cuBLAS is deterministic with this value
CUBLAS_WORKSPACE = ":4096:8"

# Who decides about TF32, of which torch by itself allows it in convolutions and forbids it in matrix products.
_cuda: Any = torch.backends.cuda
_cudnn: Any = torch.backends.cudnn
_DECIDING: tuple[Any, ...]
if hasattr(torch.backends, "fp32_precision"):
    _DECIDING, _SWITCH = (_cuda.matmul, _cudnn.conv, _cudnn.rnn), "fp32_precision"
    _VALUES: dict[bool, Any] = {True: "tf32", False: "ieee"}
else:  # before torch 2.9
    _DECIDING, _SWITCH = (_cuda.matmul, _cudnn), "allow_tf32"
    _VALUES = {True: True, False: False}


@contextmanager
def switched(deterministic: bool, tf32: bool) -> Iterator[None]:
    """Within the block, torch computes as asked; afterwards as before.

    Args:
        deterministic: an operation that cannot give the same bits every time is refused.
        tf32: a GPU that can do so rounds the factors of float32 matrix products and convolutions to 10 bits.

    Raises:
        UserError: an operation was refused, or it is too late, since the GPU was used before.
    """
    if deterministic:
        _prepare_cublas()
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic, _of_tf32()
    _switch(deterministic, deterministic, [_VALUES[tf32]] * len(_DECIDING))
    try:
        yield
    except RuntimeError as error:
        if not deterministic or not refused(error):
            raise
        reason = str(error).partition(",")[0].strip()
        raise UserError(
            f"deterministic=true but {reason}", "use a method and a network that do without it, or deterministic=false."
        ) from error
    finally:
        _switch(*before)


def refused(error: BaseException) -> bool:
    """Whether an error says that an operation cannot give the same bits every time, which was asked for."""
    return torch.are_deterministic_algorithms_enabled() and "deterministic" in str(error)


def _of_tf32() -> list[Any]:
    return [getattr(place, _SWITCH) for place in _DECIDING]


def _switch(deterministic: bool, cudnn_deterministic: bool, tf32: Sequence[Any]) -> None:
    if deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler: a second
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = cudnn_deterministic
    for place, value in zip(_DECIDING, tf32, strict=True):
        setattr(place, _SWITCH, value)


def _prepare_cublas() -> None:
    if torch.cuda.is_initialized() and CUBLAS not in os.environ:  # type: ignore[no-untyped-call]
        raise UserError(
            "deterministic=true has to be known before the GPU is first used, and an earlier run of this command used "
            "it",
            f"give this one a command of its own, or set {CUBLAS}={CUBLAS_WORKSPACE} for both.",
        )
    os.environ.setdefault(CUBLAS, CUBLAS_WORKSPACE)
