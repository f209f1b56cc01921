"""The device and the number format that a config names."""

import torch

from metarun.errors import UserError
from metarun.training.distributed import own_gpu

# bf16 only changes how a network computes; weights and inputs stay float32.
_DTYPES = {"float32": torch.float32, "bf16": torch.float32, "float64": torch.float64}


def find_device(name: str) -> torch.device:
    """Return the device that `device` names."""
    if name == "auto":
        name = own_gpu() if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("metarun runs on CPUs and on CUDA")
        torch.empty(0, device=device)
    except Exception as error:  # any back end's errors
        if name.startswith("gpu"):
            raise UserError(
                f"device={name} is not a torch device", f"use device={name.replace('gpu', 'cuda')}."
            ) from None
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"device={name} cannot be used here ({reason})", "use device=cpu or device=auto.") from None
    return device


def dtype_of(precision: str) -> torch.dtype:
    """Return the type of weights and inputs for `precision`."""
    if precision not in _DTYPES:
        raise UserError(f"precision={precision} is not one of {', '.join(_DTYPES)}.")
    return _DTYPES[precision]
