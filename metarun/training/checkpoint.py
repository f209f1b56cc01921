"""Save and load checkpoints, which are verified by their own checksum."""

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
from metarun.system.atomic_write import atomic_write

log = logging.getLogger(__name__)

State = dict[str, Any]  # tensors and plain values, in lists and dictionaries


def save(path: Path, state: State, backup: Path | None = None) -> None:
    """Write `state` with its checksum, atomically.

    Args:
        path: of the checkpoint. `torch.load` can read it; the checksum is one more entry.
        state: must be loadable with `weights_only`.
        backup: where to move the previous checkpoint; None discards it.

    Raises:
        UserError: it cannot be written; `path` is unchanged.
    """
    packed = io.BytesIO()  # torch's own error for a full disk has no reason
    torch.save({**state, "checksum": checksum(state)}, packed)
    with atomic_write(path, backup) as file:
        file.write(packed.getbuffer())


def load(path: Path, run_id: str) -> State:
    """Read a checkpoint of the run `run_id`, as `save` wrote it, to the CPU.

    Only tensors and plain values are accepted; no code in the file is run.

    Raises:
        UserError: the file is missing, damaged, or belongs to another run.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} is missing", "run the same command with `force=true` to create it again.") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise _unusable(path, f"cannot be read ({type(error).__name__})") from error
    stated = state.pop("checksum", None) if isinstance(state, dict) else None
    if stated is None:
        raise _unusable(path, "has no checksum, so it was not created by this version of metarun")
    try:
        found = checksum(state)
    except Exception as error:  # the state contains other objects or unusual tensors
        raise _unusable(path, f"is not a valid checkpoint ({type(error).__name__})") from error
    if stated != found:
        raise _unusable(path, "does not match its checksum")
    if state.get("run") != run_id:
        raise _unusable(path, f"belongs to run {state.get('run')}, not to {run_id}")
    return dict(state)


def load_newest(paths: Sequence[Path], run_id: str) -> State | None:
    """Return the first valid checkpoint, with a warning for each invalid one; None if there is none."""
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
    """Return a SHA-256 of all numbers, names and shapes in a state, on any device."""
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
            raise ValueError("a tensor claims more values than it has")
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    else:
        update(f"{value!r};".encode())


def snapshot(value: Any) -> Any:
    """Return a copy of a state with its tensors on the CPU."""
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


class BackgroundWriter:
    """Write states in a background thread. A state that is still waiting when a newer one arrives is skipped.

    Args:
        write: writes a state; a UserError that it raises is logged as a warning, unless it is the last state.
    """

    def __init__(self, write: Callable[[State], None]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._newest: Future[None] | None = None

    def submit(self, state: State) -> None:
        """Write a state in the background; it must not change afterwards."""
        if self._newest is not None:
            self._newest.cancel()  # has no effect if it is being written
        self._newest = self._thread.submit(self._try, state)

    def finish(self) -> None:
        """Wait until the newest state is written.

        Raises:
            UserError: it cannot be written.
        """
        if self._newest is not None:
            self._newest.result()

    def _try(self, state: State) -> None:
        try:
            self._write(state)
        except UserError as error:
            log.warning("%s; meta-training continues and will try again", error.problem)
            raise
