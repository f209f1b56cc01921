"""Where data lie on this machine, and the cache: one verified file per data set, written atomically."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from metarun.data import cache_file
from metarun.data.cache_file import Unwritten, unwritten
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.errors import UserError
from metarun.system.hash_cache import cached_answer, store_answer
from metarun.system.lock import exclusive_lock
from metarun.system.paths import data_root, resolve_path

log = logging.getLogger(__name__)

# memory: examples are read when a run starts. disk: they stay in the cache file, which is mapped into memory.
Storage = Literal["memory", "disk"]


def mirror() -> str | Path | None:
    """Where `METARUN_MIRROR` says that originals are: an http(s) URL without its last slash, a folder, or None."""
    asked = os.environ.get("METARUN_MIRROR")
    if not asked:
        return None
    return asked.rstrip("/") if asked.startswith(("http://", "https://")) else resolve_path(asked)


def find_original(folder: str, names: Iterable[str]) -> Path | None:
    """Return the first of these files or folders that is there.

    They are looked for under the data root, then under the mirror folder, if `METARUN_MIRROR` is one; in each within
    its `folder`, then directly.
    """
    roots = [data_root(), *([there] if isinstance(there := mirror(), Path) else [])]
    places = [within / name for root in roots for within in (root / folder, root) for name in names]
    return next((place for place in places if place.exists()), None)


def load_or_build(
    path: Path, key: str, build: Callable[[], Examples | Unwritten], storage: Storage = "memory"
) -> Examples:
    """Return the examples cached in `path`, or build and cache them; processes that ask at once build once.

    Args:
        path: the cache file.
        key: what the content is and how it was made; a file with another key is not trusted.
        build: makes the examples, all of them or while they are written; whatever it raises passes through and nothing
            is cached.
        storage: how they are returned; the file is the same.

    Raises:
        UserError: the cache cannot be written.
    """
    cached = read_cache(path, key, storage)
    if cached is not None:
        return cached
    with _locked(path):
        cached = read_cache(path, key, storage)  # another process may have built it while this one waited
        if cached is None:
            built = build()
            _write(path, key, unwritten(built) if isinstance(built, Examples) else built)
            cached = built if isinstance(built, Examples) and storage == "memory" else read_cache(path, key, storage)
        if cached is None:
            raise UserError(f"{path} was damaged while it was written", "is the disk in order?")
        return cached


def read_cache(path: Path, key: str, storage: Storage = "memory") -> Examples | None:
    """Return what is cached in `path`, or None (with a logged warning if a file is there) when it cannot be trusted.

    What is read is compared with its checksum every time; what is mapped, when it is new or the file has changed.
    """

    def checksum_of_map(examples: Examples) -> str:
        return cached_answer([path], f"checksum|{key}", lambda: cache_file.checksum(key, examples))

    if storage == "disk":
        return _trusted(path, cache_file.mapped, checksum_of_map)
    return _trusted(path, cache_file.load, lambda examples: cache_file.checksum(key, examples))


def check_cache(path: Path, key: str) -> Examples | None:
    """Return what is cached in `path` as a memory map, all of it compared with its checksum now; see `read_cache`."""
    return _trusted(path, cache_file.mapped, lambda examples: cache_file.checksum(key, examples))


def as_stored(data: ClassDataset, storage: Storage) -> ClassDataset:
    """Return a data set that was made in memory as `data.storage` wants it: as it is, or mapped from the cache.

    Raises:
        UserError: the cache cannot be written.
    """
    if storage == "memory":
        return data

    def put(split: Split) -> Examples:
        path = data_root() / "splits" / f"{data.name}-{data.hash[:16]}-{split}.npz"
        return load_or_build(path, f"split-1|{data.hash}", lambda: data.splits[split], storage)

    return ClassDataset(data.name, {split: put(split) for split in SPLITS}, data.left_out)


def _trusted(
    path: Path, read: Callable[[Path], tuple[Examples, str]], checksum: Callable[[Examples], str]
) -> Examples | None:
    if not path.exists():
        return None
    try:
        examples, stated = read(path)
        found = checksum(examples)
    except Exception as error:  # numpy and zipfile raise a dozen kinds on foreign bytes, down to tokenize.TokenError
        log.warning("%s cannot be read (%s); it is built anew.", path, error)
        return None
    if stated != found:
        log.warning("%s does not hold what its checksum says, or is of another version; it is built anew.", path)
        return None
    return examples


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    def wait(more: str) -> None:
        log.info("Another process makes %s; waiting for it.%s", path, more)

    with ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(path.with_suffix(".lock"), wait))
        except OSError as error:
            raise _unwritable(path, error) from error
        yield


def _write(path: Path, key: str, examples: Unwritten) -> None:
    unfinished = path.with_suffix(".tmp")  # one name is enough: the lock is held
    try:
        with unfinished.open("wb") as file:
            checksum = cache_file.write(file, key, examples)
        unfinished.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)  # there if anything was raised
    store_answer([path], f"checksum|{key}", checksum)


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"{path} cannot be written ({reason})", "set METARUN_DATA to a folder that you may write to.")
