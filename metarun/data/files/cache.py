"""Where data are found on this machine, and the cache: one verified file per data set, written atomically."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.data.files import cache_file
from metarun.data.files.cache_file import ExampleStream, as_stream
from metarun.errors import UserError
from metarun.system.hash_cache import cached_answer, store_answer
from metarun.system.lock import exclusive_lock
from metarun.system.paths import data_root, resolve_path

log = logging.getLogger(__name__)

# memory: read all examples when a run starts. disk: leave them in the cache file and map it into memory.
Storage = Literal["memory", "disk"]


def mirror() -> str | Path | None:
    """Return what `METARUN_MIRROR` names: an http(s) URL without a trailing slash, a folder, or None."""
    asked = os.environ.get("METARUN_MIRROR")
    if not asked:
        return None
    return asked.rstrip("/") if asked.startswith(("http://", "https://")) else resolve_path(asked)


def mirror_urls(folder: str, name: str) -> list[str]:
    """Return the URLs at which the mirror may have a file: in `folder` and directly; none if the mirror is a folder.

    Raises:
        UserError: `METARUN_MIRROR` is neither a URL nor an existing folder.
    """
    source = mirror()
    if isinstance(source, str):
        return [f"{source}/{folder}/{name}", f"{source}/{name}"]
    if source is not None and not source.is_dir():
        raise UserError(
            f"METARUN_MIRROR={source} is neither an http(s) URL nor an existing folder", "correct or unset it."
        )
    return []


def find_original(folder: str, names: Iterable[str]) -> Path | None:
    """Return the first of these files or folders that exists.

    The data root is searched first, then the mirror if `METARUN_MIRROR` is a folder; in each, `folder` first.
    """
    roots = [data_root(), *([found] if isinstance(found := mirror(), Path) else [])]
    paths = [parent / name for root in roots for parent in (root / folder, root) for name in names]
    return next((path for path in paths if path.exists()), None)


@dataclass(frozen=True, kw_only=True)
class Original:
    """A published data set that is looked for under the data root and the mirror.

    Args:
        name: of the data set.
        files: names of files or folders, any of which is the data set.
        advice: what to put there, one clause.
    """

    name: str
    files: tuple[str, ...]
    advice: str

    @property
    def folder(self) -> str:
        """Its folder under the data root and the mirror."""
        return self.name

    def find(self) -> Path | None:
        """Return where it is, the data root before the mirror; None: nowhere."""
        return find_original(self.folder, self.files)

    def place(self) -> Path:
        """Return where it is.

        Raises:
            UserError: nowhere.
        """
        if (found := self.find()) is None:
            raise self.missing_error()
        return found

    def missing_error(self) -> UserError:
        """Return the error to raise if it is not found."""
        return UserError(
            f"{self.name} was not found",
            f"put {self.advice} into {data_root() / self.folder}, or use data=glyphs, which is built in.",
        )


def load_or_build(
    path: Path, key: str, build: Callable[[], Examples | ExampleStream], storage: Storage = "memory"
) -> Examples:
    """Return the examples cached in `path`, or build and cache them; concurrent processes build once.

    Args:
        path: the cache file.
        key: identifies the content and how it was made; a file with another key is not trusted.
        build: makes the examples, at once or as a stream; if it raises, nothing is cached.
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
            _write(path, key, as_stream(built) if isinstance(built, Examples) else built)
            cached = built if isinstance(built, Examples) and storage == "memory" else read_cache(path, key, storage)
        if cached is None:
            raise UserError(f"{path} was damaged while it was written", "check the disk.")
        return cached


def load_or_build_groups(path: Path, key: str, build: Callable[[], ExampleGroups]) -> ExampleGroups:
    """Return the groups of a split's examples that are cached in `path`, or build and cache them.

    They are stored in the form of examples, with the names of the groups in the place of classes.
    """

    def as_examples() -> Examples:
        groups = build()
        return Examples(groups.numbers, np.array([0, len(groups.numbers)]), groups.names)

    stored = load_or_build(path, key, as_examples)
    return ExampleGroups(stored.values, stored.class_names)


def read_cache(path: Path, key: str, storage: Storage = "memory") -> Examples | None:
    """Return what is cached in `path`, or None if it cannot be trusted, with a warning if the file exists.

    In memory, the checksum is verified every time; of a memory map, only when the file is new or has changed.
    """
    checksum = partial(cache_file.checksum, key)
    if storage == "memory":
        return _trusted(path, cache_file.load, checksum)
    about = f"checksum|{key}"
    return _trusted(path, cache_file.load_mapped, lambda mapped: cached_answer([path], about, lambda: checksum(mapped)))


def check_cache(path: Path, key: str) -> Examples | None:
    """Return what is cached in `path` as a memory map and always verify its checksum; see `read_cache`."""
    return _trusted(path, cache_file.load_mapped, partial(cache_file.checksum, key))


def apply_storage(data: ClassDataset, storage: Storage) -> ClassDataset:
    """Return a data set made in memory as it is, or for `storage=disk` as a memory map of the cache.

    Raises:
        UserError: the cache cannot be written.
    """
    if storage == "memory":
        return data

    def on_disk(split: Split) -> Examples:
        path = data_root() / "splits" / f"{data.name}-{data.hash[:16]}-{split}.npz"
        return load_or_build(path, f"split-1|{data.hash}", lambda: data.splits[split], storage)

    return replace(data, splits={split: on_disk(split) for split in SPLITS})


def _trusted(
    path: Path, read: Callable[[Path], tuple[Examples, str]], checksum: Callable[[Examples], str]
) -> Examples | None:
    if not path.exists():
        return None
    try:
        examples, expected = read(path)
        found = checksum(examples)
    except Exception as error:  # numpy and zipfile raise a dozen types on untrusted bytes, even tokenize.TokenError
        log.warning("%s cannot be read (%s); rebuilding it.", path, error)
        return None
    if expected != found:
        log.warning("%s does not match its checksum or is from another version; rebuilding it.", path)
        return None
    return examples


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    def wait(more: str) -> None:
        log.info("Another process is building %s; waiting for it.%s", path, more)

    with ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(path.with_suffix(".lock"), wait))
        except OSError as error:
            raise _write_error(path, error) from error
        yield


def _write(path: Path, key: str, examples: ExampleStream) -> None:
    unfinished = path.with_suffix(".tmp")  # one name is enough: the lock is held
    try:
        with unfinished.open("wb") as file:
            checksum = cache_file.write(file, key, examples)
        unfinished.replace(path)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)  # left if anything was raised
    store_answer([path], f"checksum|{key}", checksum)


def _write_error(path: Path, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"{path} cannot be written ({reason})", "set METARUN_DATA to a writable folder.")
