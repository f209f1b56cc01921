"""Saving and restoring: a checkpoint is whole, and says so itself, or it is not used."""

import hashlib
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarun.errors import UserError
from metarun.system.atomic_write import replacing

log = logging.getLogger(__name__)

State = dict[str, Any]  # tensors and plain values, in lists and dictionaries


def save(path: Path, state: State, before: Path | None = None) -> None:
    """Write `state` with its checksum so that at every instant `path` holds the old or the new one, whole.

    Args:
        path: of the checkpoint. Whoever has torch can read it: the checksum is one more entry.
        state: what `torch.load` accepts with `weights_only`.
        before: where the checkpoint that `path` held goes; None: away.

    Raises:
        UserError: it cannot be written; what was there is there still.
    """
    packed = io.BytesIO()  # torch has errors of its own, without a reason, for a disk that is full
    torch.save({**state, "checksum": checksum(state)}, packed)
    with replacing(path, before) as file:
        file.write(packed.getbuffer())


def load(path: Path, run_id: str) -> State:
    """Read what `save` wrote. Only tensors and plain values are accepted: a foreign file's code is never run.

    Args:
        path: of the checkpoint.
        run_id: of the run whose it should be.

    Returns:
        The state, all of it on the CPU.

    Raises:
        UserError: the file is missing, damaged, or another run's.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} is not there", "run the same command with `force=true` to make it again.") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise _unusable(path, f"cannot be read ({type(error).__name__})") from error
    stated = state.pop("checksum", None) if isinstance(state, dict) else None
    if stated is None:
        raise _unusable(path, "has no checksum: it is foreign, or of an older metarun")
    try:
        found = checksum(state)
    except Exception as error:  # of what is no plain value or no plain tensor
        raise _unusable(path, f"holds what no checkpoint of metarun does ({type(error).__name__})") from error
    if stated != found:
        raise _unusable(path, "does not hold what its checksum says")
    if state.get("run") != run_id:
        raise _unusable(path, f"is of run {state.get('run')}, not of {run_id}")
    return dict(state)


def load_newest(paths: Sequence[Path], run_id: str) -> State | None:
    """Return the first checkpoint that is whole, with a warning for each that is not; None where there is none."""
    for path in paths:
        if not path.exists():
            continue
        try:
            return load(path, run_id)
        except UserError as error:
            log.warning("%s", error.problem)
    return None


def _unusable(path: Path, reason: str) -> UserError:
    return UserError(f"{path} {reason}", "delete it, or run the same command with `force=true`.")


def checksum(state: Any) -> str:
    """Return a SHA-256 of all numbers, names and shapes in a state, wherever its tensors are."""
    digest = hashlib.sha256()
    _digest(state, digest.update)
    return digest.hexdigest()


def _digest(value: Any, update: Callable[[Any], None]) -> None:
    if isinstance(value, Mapping):
        update(b"{")
        for key, item in value.items():
            update(f"{key!r}:".encode())
            _digest(item, update)
        update(b"}")
    elif isinstance(value, list | tuple):
        update(b"[")
        for item in value:
            _digest(item, update)
        update(b"]")
    elif isinstance(value, Tensor):
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError("a tensor claims more numbers than it holds")
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    else:
        update(f"{value!r};".encode())


def snapshot(value: Any) -> Any:
    """Return a copy of a state, its tensors on the CPU, that later steps leave as it is."""
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


class InBackground:
    """Writes states in a thread of its own, the newest first: one that waits when a newer comes is passed over.

    Args:
        write: does it; may raise a UserError, which is a warning as long as a later state may yet be written.
    """

    def __init__(self, write: Callable[[State], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._newest: Future[None] | None = None

    def give(self, state: State) -> None:
        """Let a state be written, which nobody may change any more."""
        if self._newest is not None:
            self._newest.cancel()  # unless it is being written already
        self._newest = self._thread.submit(self._try, state)

    def finish(self) -> None:
        """Wait until the newest state is written.

        Raises:
            UserError: it could not be.
        """
        if self._newest is not None:
            self._newest.result()

    def _try(self, state: State) -> None:
        try:
            self._write(state)
        except UserError as error:
            log.warning("%s; meta-training goes on and tries again", error.problem)
            raise
