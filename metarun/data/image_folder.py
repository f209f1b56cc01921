"""Pictures in folders: any of the user's own, and published sets that are such folders."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.data.archive import empty_folders, opened
from metarun.data.cache import Storage, check_cache, load_or_build
from metarun.data.cache_file import Unwritten
from metarun.data.contents import describe_splits
from metarun.data.examples import SPLITS, ClassDataset, Examples, LeftOut, Split
from metarun.data.folder_layout import Layout, SplitFile, arrange
from metarun.data.image_decoding import decode
from metarun.data.image_left_out import remember_left_out
from metarun.data.image_tables import Classes
from metarun.data.published_images import KNOWN, KnownName
from metarun.data.splits import read_split_file
from metarun.errors import UserError, counted
from metarun.system.fingerprint import content_hash
from metarun.system.paths import PathText, data_root, is_file, is_folder, resolve_path

log = logging.getLogger(__name__)

RECIPE = 1  # raise it with every change that can change a pixel or a class of a published set
LAYOUT = 2  # raise it with every change that can change which pictures of the user's own are of which class
_LARGEST = 1 << 28  # bytes of one picture
_MOST_PIXELS = 2048  # of width and height: an example of 12 MB, of which a task has many


class ImageFolder:
    """A folder or a zip of pictures, one folder per class; how they may lie is told in `metarun.data.folder_layout`.

    Pictures are (channels, size, size) uint8, decoded once, one at a time, and cached, one file per split; classes may
    differ in size.
    How they come to be of one size is told in `metarun.data.image_decoding`. A folder that changes is read anew. A
    published set is looked for under the data root and `METARUN_MIRROR`; where it is cached, nothing else is needed.

    Args:
        root: the folder or zip; None: where `known` is looked for.
        split: the path of a file that lists classes (see `metarun.data.splits`); None: as the pictures lie.
        size: pixels, of width and of height.
        channels: 3 (colour) or 1 (grey).
        known: the published set that it is, of which it has to be a whole copy; None: pictures of the user's own.
        invert: turn light to dark and dark to light, as for ink on paper beside Omniglot, which is light on dark.
        storage: "memory", or "disk": the pictures stay in the cache, for sets that are larger than memory.

    Raises:
        UserError: an argument is out of range.
    """

    name = "image_folder"
    summary = "pictures of your own: data.root=PATH, a folder or zip with one folder per class"
    licence = "yours"

    def __init__(
        self,
        root: PathText | None = None,
        split: PathText | None = None,
        size: int = 84,
        channels: Literal[1, 3] = 3,
        known: KnownName | None = None,
        invert: bool = False,
        storage: Storage = "memory",
    ) -> None:
        if not 1 <= size <= _MOST_PIXELS:
            raise UserError(f"size={size} but pictures have 1 to {_MOST_PIXELS} pixels a side here", "set `data.size`.")
        self.root = None if root is None else resolve_path(root)
        self._written = root
        self.split = split
        self.size, self.channels = size, channels
        self.invert, self.storage = invert, storage
        self.known = None if known is None else KNOWN[known]
        if self.known:
            self.name, self.summary, self.licence = self.known.name, self.known.summary, self.known.licence

    def load(self) -> ClassDataset:
        """Return the pictures, from the cache or decoded (seconds to minutes).

        Raises:
            UserError: the place is missing or damaged, has no such layout, or is no whole copy of what it should be.
        """
        place = self._place()
        key = self._key(place)
        layout = cache(partial(self._arrange, place))  # once, and not at all where it is not needed

        def load(which: Split) -> Examples:
            return load_or_build(self._cache(which), key, lambda: self._read(place, layout(), which, key), self.storage)

        splits = {which: load(which) for which in SPLITS}

        def find_left_out() -> LeftOut | None:
            try:
                return layout().left_out
            except UserError:  # a published set that is cached needs its originals no more
                return None

        return ClassDataset(self.name, splits, remember_left_out(self._beside("left-out.json"), key, find_left_out))

    def where(self) -> str | None:
        """Return where the pictures would come from now; None: they are not here."""
        if self.known and not self.root:
            if all(self._cache(which).exists() for which in SPLITS):
                return f"cache: {self._cache('train').parent}"
            found = self.known.find()
            return str(found) if found else None
        return str(self.root) if self.root else "where data.root says"

    def cache_files(self) -> list[Path]:
        """Return the caches of the splits, see `DataSource`."""
        return [self._cache(which) for which in SPLITS]

    def check(self) -> str:
        """Decode all pictures and compare them with the cache; without the originals, verify the cache alone.

        Raises:
            UserError: neither is here, the originals are damaged, or the cache holds something else.
        """
        place = self._place()
        cached = {which: check_cache(self._cache(which), self._key(place)) for which in SPLITS}
        if place is None:
            whole = {which: examples for which, examples in cached.items() if examples}
            if len(whole) < len(SPLITS):
                raise self._absent()
            told = describe_splits({which: examples.offsets for which, examples in whole.items()}, LeftOut())
            return f"{told}: the cache is whole (the originals are not here to compare with)"
        layout = self._arrange(place)
        found = {which: self._read(place, layout, which, self._key(place)) for which in SPLITS}
        for which, pictures in found.items():
            if not _agree(pictures, cached[which]):
                raise UserError(f"{self._cache(which)} is not what {place} holds", "delete the one that is wrong.")
        state = "not cached yet" if None in cached.values() else "the cache agrees"
        told = describe_splits({which: pictures.offsets for which, pictures in found.items()}, layout.left_out)
        return "; ".join([told, *layout.left_out.unasked, "all decode", state])

    def _place(self) -> Path | None:
        """Return the folder or zip; None: it is not here, but a cache of it may be."""
        if self.root is None:
            if self.known is None:
                raise UserError("data=image_folder needs pictures", "set `data.root` to a folder or a zip.")
            return self.known.find()
        if not (is_file(self.root) or is_folder(self.root)):
            raise UserError(
                f"data.root={self._written} is not there", "set `data.root` to a folder or a zip of pictures."
            )
        return self.root

    def _absent(self) -> UserError:
        assert self.known is not None
        return self.known.absent()

    def _arrange(self, place: Path | None) -> Layout:
        """Return which pictures are of which class and split."""
        if place is None:
            raise self._absent()
        with opened(place, _LARGEST) as (names, read):
            layout = arrange(self.name, place, names, read, self._split_file(), empty_folders(place))
        if self.known and self.split is None:
            self.known.check_whole(place, layout.splits)
        return layout

    def _read(self, place: Path | None, layout: Layout, which: Split, key: str) -> Unwritten:
        """Return the pictures of a split, each decoded when it is its turn, as long as the key is still theirs."""
        assert place is not None, "there is a layout of it"
        classes = layout.splits[which]
        files = [file for of_class in classes.values() for file in of_class]
        shape = (self.channels, self.size, self.size)
        blocks = self._decode(place, which, files, key)
        return Unwritten(blocks, shape, np.dtype(np.uint8), _offsets(classes), tuple(classes))

    def _decode(self, place: Path, which: Split, files: Sequence[str], key: str) -> Iterator[NDArray[np.uint8]]:
        log.info("Reading %s of meta-%s from %s, once.", counted(len(files), "picture"), which, place)
        with opened(place, _LARGEST) as (_, read):
            for file in files:
                picture = decode(f"{place}: {file}", read(file), self.size, self.channels)[None]
                yield 255 - picture if self.invert else picture
        if self._key(place) != key:
            raise UserError(f"{place} has changed while it was read", "run the same command again when it is complete.")

    def _key(self, place: Path | None) -> str:
        """What the cache holds. A published set stays what it is; the user's own pictures may change."""
        state = f"layout {LAYOUT}|{content_hash(place)}" if place and self.root else ""
        return f"pictures-{RECIPE}-{self.size}-{self.channels}{'-inverted' * self.invert}|{self.name}|{state}"

    def _cache(self, which: Split) -> Path:
        return self._beside(f"{which}.npz")

    def _beside(self, name: str) -> Path:
        """Return the path of a file of the cache."""
        _, lists = self._split_file() or ("", b"")
        settings = f"{self.root}|{self.size}|{self.channels}|{'inverted|' * self.invert}"
        own = hashlib.sha256(os.fsencode(settings) + lists).hexdigest()[:8]
        return data_root() / "pictures" / f"{self.name}-{own}-{name}"

    def _split_file(self) -> SplitFile | None:
        if self.split is not None:
            return self.split, read_split_file(self.name, self.split)
        packaged = self.known and self.known.split_file
        return (str(packaged), packaged.read_bytes()) if packaged else None


def _agree(pictures: Unwritten, cached: Examples | None) -> bool:
    """Decode all pictures; return whether they are what is cached, if anything is."""
    same = cached is None or (cached.class_names == pictures.class_names and len(cached.values) == len(pictures))
    for row, picture in enumerate(pictures.blocks):
        same = same and (cached is None or np.array_equal(cached.values[row], picture[0]))
    return same


def _offsets(classes: Classes) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, classes.values())], dtype=np.int64)
