"""Saving and restoring, atomically: a checkpoint is whole or not there."""

import os
from pathlib import Path
from typing import Any

import torch

from metarun.errors import UserError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that at every instant `path` holds the old or the new one, whole."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save` wrote. Only tensors and plain values are accepted: a foreign file's code is never run.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} is not there; run the same command with `force=true` to make it again.") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); delete it, or run the same command with `force=true`."
        ) from error
    return state
