"""The cache of a data set made from a user's files: one verified file per split, rebuilt when they change."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from metarun.data.contents import describe
from metarun.data.display import read_display, write_display
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, FloorVectors, Split
from metarun.data.files.cache import Storage, check_cache, load_or_build, load_or_build_groups
from metarun.data.pictures.skipped_images import remember_skipped
from metarun.errors import UserError
from metarun.system.atomic_write import write_npz
from metarun.system.fingerprint import content_hash
from metarun.system.paths import PathText, data_root, resolve_path


def content_of(*paths: PathText | Path | None) -> str:
    """Return a hash of the content of some files and folders; None stands for one that is not given."""
    return "|".join(content_hash(resolve_path(str(path))) for path in paths if path is not None)


Make = Callable[[], ClassDataset]  # in memory


@dataclass(frozen=True)
class DatasetCache:
    """The cache of a data set.

    Args:
        kind: the folder of the cache, such as "tables".
        name: of the data set.
        settings: everything besides the content of the files that changes examples or classes.
        storage: "memory", or "disk": the examples stay in the cache.
        floor_vectors: see `ClassDataset`.
        groups: the names of the groupings of examples, such as "speaker".
    """

    kind: str
    name: str
    settings: str
    storage: Storage
    floor_vectors: FloorVectors = "raw"
    groups: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Return the file of each split."""
        return [self._path(f"{split}.npz") for split in SPLITS]

    def load(self, content: str, make: Make) -> ClassDataset:
        """Return the data set from the cache, or make and cache it.

        Args:
            content: a hash of the source files.
            make: called if the cache is missing, damaged or outdated.

        Raises:
            UserError: the cache cannot be written, or whatever `make` raises.
        """
        key, display = self._key(content), self._path("display.json")

        @cache
        def made() -> ClassDataset:
            found = make()
            write_display(display, key, found.display())
            return found

        def load(split: Split) -> Examples:
            return load_or_build(self._path(f"{split}.npz"), key, lambda: made().splits[split], self.storage)

        splits = {split: load(split) for split in SPLITS}
        skipped = remember_skipped(self._path("skipped.json"), key, lambda: made().skipped)
        if not display.exists():  # the cache is from an earlier version
            made()
        if made.cache_info().currsize:
            self._store_encoding(key, made())

        def load_groups(number: int, split: Split) -> ExampleGroups:
            path = self._path(f"{split}-groups-{number}.npz")
            return load_or_build_groups(path, key, lambda: made().example_groups[self.groups[number]][split])

        groups = {name: {split: load_groups(i, split) for split in SPLITS} for i, name in enumerate(self.groups)}
        return ClassDataset(
            self.name,
            splits,
            skipped,
            self.floor_vectors,
            example_groups=groups,
            encoding=lambda: self._encoding(key, make),
            display=partial(read_display, display, key),  # when it is needed, since texts can be many
        )

    def _encoding(self, key: str, make: Make) -> Encoding:
        """Return the stored encoding; caches of earlier versions have none, so that it is made."""
        try:
            with np.load(self._path("encoding.npz"), allow_pickle=False) as stored:
                found = Encoding.from_arrays(stored) if str(stored["key"]) == key else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            found = None
        return found or self._store_encoding(key, make())

    def _store_encoding(self, key: str, made: ClassDataset) -> Encoding:
        assert made.encoding is not None, "whoever makes it from files knows how"
        encoding = made.encoding()
        with suppress(UserError, OSError):  # it is made again then
            write_npz(self._path("encoding.npz"), {"key": np.array(key), **encoding.to_arrays()})
        return encoding

    def load_more(self, name: str, content: str, make: Callable[[], Examples]) -> Examples:
        """Return examples besides those of the splits from their own cache, or make and cache them.

        Args:
            name: of the cache.
            content: as of `load`.
            make: as of `load`.

        Raises:
            UserError: the cache cannot be written, or whatever `make` raises.
        """
        return load_or_build(self._path(f"{name}.npz"), self._key(content), make)

    def check(self, content: str, make: Make, tell: Callable[[ClassDataset], str] = describe) -> str:
        """Make the data set, compare it with the cache and return a report of one line.

        Args:
            content: as of `load`.
            make: as of `load`.
            tell: says what a data set holds.

        Raises:
            UserError: the cache differs, or whatever `make` raises.
        """
        made = make()
        states = set()
        for split, path in zip(SPLITS, self.files(), strict=True):
            cached, examples = check_cache(path, self._key(content)), made.splits[split]
            if cached is None:
                states.add("not cached yet")
                continue
            if cached.class_names != examples.class_names or not np.array_equal(cached.values, examples.values):
                raise UserError(f"{path} differs from the files of {self.name}", "delete it to rebuild it.")
            states.add("the cache matches")
        return "; ".join([tell(made), *made.skipped.warnings, *sorted(states)])

    def _key(self, content: str) -> str:
        return f"{self.kind}|{self._settings}|{content}"

    def _path(self, name: str) -> Path:
        own = hashlib.sha256(os.fsencode(self._settings)).hexdigest()[:8]
        return data_root() / self.kind / f"{self.name}-{own}-{name}"

    @property
    def _settings(self) -> str:
        return f"{self.settings}|{self.groups}" if self.groups else self.settings
