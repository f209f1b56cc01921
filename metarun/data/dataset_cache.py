"""The cache of a data set made from a user's files: one verified file per split, rebuilt when they change."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from metarun.data.cache import Storage, check_cache, load_or_build
from metarun.data.contents import describe
from metarun.data.display import read_display, write_display
from metarun.data.examples import SPLITS, ClassDataset, Examples, FloorVectors, Split
from metarun.data.skipped_images import remember_skipped
from metarun.errors import UserError
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
    """

    kind: str
    name: str
    settings: str
    storage: Storage
    floor_vectors: FloorVectors = "raw"

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
        read = partial(read_display, display, key)  # when it is needed, since texts can be many
        return ClassDataset(self.name, splits, skipped, self.floor_vectors, display=read)

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
        return f"{self.kind}|{self.settings}|{content}"

    def _path(self, name: str) -> Path:
        own = hashlib.sha256(os.fsencode(self.settings)).hexdigest()[:8]
        return data_root() / self.kind / f"{self.name}-{own}-{name}"
