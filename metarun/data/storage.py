"""Where data lie on this machine, and the cache: one verified file per data set, written atomically."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import AcquireReturnProxy, FileLock
from platformdirs import user_cache_path

from metarun.data.examples import Examples
from metarun.errors import UserError

log = logging.getLogger(__name__)


def data_root() -> Path:
    """The folder that data are looked for and cached under: `METARUN_DATA`, or the user's cache folder."""
    asked = os.environ.get("METARUN_DATA")
    return Path(asked).expanduser() if asked else user_cache_path("metarun")


def mirror() -> str | Path | None:
    """Where `METARUN_MIRROR` says that originals are: an http(s) URL without its last slash, a folder, or None."""
    asked = os.environ.get("METARUN_MIRROR")
    if not asked:
        return None
    return asked.rstrip("/") if asked.startswith(("http://", "https://")) else Path(asked).expanduser()


def load_or_build(path: Path, key: str, build: Callable[[], Examples]) -> Examples:
    """Return the examples cached in `path`, or build and cache them; processes that ask at once build once.

    Args:
        path: the cache file.
        key: what the content is and how it was made; a file with another key is not trusted.
        build: makes the examples; whatever it raises passes through and nothing is cached.

    Raises:
        UserError: the cache cannot be written.
    """
    cached = read_cache(path, key)
    if cached is not None:
        return cached
    with _locked(path):
        cached = read_cache(path, key)  # another process may have built it while this one waited
        if cached is None:
            cached = build()
            _write(path, key, cached)
        return cached


def read_cache(path: Path, key: str) -> Examples | None:
    """Return what is cached in `path`, or None (with a logged warning if a file is there) when it cannot be trusted."""
    if not path.exists():
        return None
    try:
        # Opened here, because numpy leaves a file open that it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            examples = Examples(file["values"], file["offsets"], tuple(file["class_names"].tolist()))
            stated = str(file["checksum"])
    except Exception as error:  # numpy and zipfile raise a dozen kinds on foreign bytes, down to tokenize.TokenError
        log.warning("%s cannot be read (%s); it is built anew.", path, error)
        return None
    if stated != _checksum(key, examples):
        log.warning("%s does not hold what its checksum says, or is of another version; it is built anew.", path)
        return None
    return examples


def _locked(path: Path) -> AcquireReturnProxy[FileLock]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path.with_suffix(".lock")).acquire()
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, key: str, examples: Examples) -> None:
    unfinished = path.with_suffix(".tmp")  # one name is enough: the lock is held
    try:
        with unfinished.open("wb") as file:
            np.savez(
                file,
                values=examples.values,
                offsets=examples.offsets,
                class_names=np.array(examples.class_names),
                checksum=np.array(_checksum(key, examples)),
            )
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _checksum(key: str, examples: Examples) -> str:
    header = f"{key}|{examples.values.dtype}{examples.values.shape}|{examples.offsets.tolist()}|{examples.class_names}"
    return hashlib.sha256(header.encode() + np.ascontiguousarray(examples.values).tobytes()).hexdigest()


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"{path} cannot be written ({reason}); set METARUN_DATA to a folder that you may write to.")
