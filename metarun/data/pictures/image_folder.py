"""Pictures in folders: your own, and published sets that come as folders."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.data.contents import describe_splits
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Skipped, Split
from metarun.data.files.archive import empty_folders, open_files
from metarun.data.files.cache import Storage, check_cache, load_or_build, load_or_build_groups
from metarun.data.files.cache_file import ExampleStream
from metarun.data.pictures.folder_layout import Layout, SplitFile, find_layout
from metarun.data.pictures.image_decoding import decode
from metarun.data.pictures.published_images import PUBLISHED, PublishedName
from metarun.data.pictures.skipped_images import remember_skipped
from metarun.data.pictures.subfolders import merge_subfolders, subfolders_of
from metarun.data.splits import read_split_file
from metarun.errors import UserError, counted
from metarun.system.fingerprint import content_hash
from metarun.system.paths import PathText, data_root, is_file, is_folder, resolve_path

log = logging.getLogger(__name__)

RECIPE = 1  # increase it with every change that can change a pixel or a class of a published set
LAYOUT = 2  # increase it with every change that can change which pictures of a user are in which class
_MAX_BYTES = 1 << 28  # of one picture
_MAX_SIZE = 2048  # pixels of width and height: 12 MB an example, and a task has many


class ImageFolder:
    """A folder or a zip of pictures, one folder per class; see `metarun.data.pictures.folder_layout` for the layouts.

    Pictures are (channels, size, size) uint8, resized as in `metarun.data.pictures.image_decoding`. They are decoded
    once, one at a time, and cached, one file per split. Classes may differ in size. A folder that changes is read
    again. A published set is searched for under the data root and `METARUN_MIRROR`; once cached, its originals are not
    needed.

    Args:
        root: the folder or zip; None: search for the `known` set.
        split: the path of a file that lists classes (see `metarun.data.splits`); None: the layout decides.
        size: pixels, of width and of height.
        channels: 3 (colour) or 1 (grey).
        known: the published set, of which this must be a complete copy; None: pictures of your own.
        invert: swap light and dark, for ink on paper tested beside Omniglot, which is light on dark.
        subfolders: "classes": each folder of pictures is a class; "groups": the folders in the folder of a class group
            its pictures, such as by photographer, for `task.across=subfolder`.
        storage: "memory", or "disk": leave the pictures in the cache, for sets larger than memory.
        boxes: of each picture, keep only the bounding box of what it shows; CUB has boxes.
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
        known: PublishedName | None = None,
        invert: bool = False,
        subfolders: Literal["classes", "groups"] = "classes",
        storage: Storage = "memory",
        boxes: bool = False,
    ) -> None:
        if not 1 <= size <= _MAX_SIZE:
            raise UserError(f"data.size={size} but it must be from 1 to {_MAX_SIZE} pixels", "correct `data.size`.")
        self.root = None if root is None else resolve_path(root)
        self._given_root = root
        self.split = split
        self.size, self.channels = size, channels
        self.invert, self.storage, self.in_groups = invert, storage, subfolders == "groups"
        self.known = None if known is None else PUBLISHED[known]
        if self.known:
            self.name, self.summary, self.licence = self.known.name, self.known.summary, self.known.licence
        opened = open_files if self.known is None else self.known.open_boxes if boxes else self.known.open
        if boxes and (self.known is None or opened is None):
            raise UserError(f"data.boxes=true but {self.name} has no bounding boxes", "set `data.boxes=false`.")
        assert opened is not None
        self._open = opened
        self.boxes = boxes

    def load(self) -> ClassDataset:
        """Return the pictures, from the cache or decoded (seconds to minutes)."""
        root = self._find_root()
        key = self._key(root)
        layout = cache(partial(self._layout, root))  # at most once, and only if needed

        def load(which: Split) -> Examples:
            return load_or_build(self._cache(which), key, lambda: self._read(root, layout(), which, key), self.storage)

        splits = {which: load(which) for which in SPLITS}

        def find_skipped() -> Skipped | None:
            try:
                return layout().skipped
            except UserError:  # a cached published set no longer needs its originals
                return None

        def load_groups(which: Split) -> ExampleGroups:
            return load_or_build_groups(self._path(f"{which}-groups.npz"), key, lambda: subfolders_of(layout(), which))

        groups = {"subfolder": {which: load_groups(which) for which in SPLITS}} if self.in_groups else {}
        skipped = remember_skipped(self._path("left-out.json"), key, find_skipped)
        in_folders = any("/" in class_name for examples in splits.values() for class_name in examples.class_names)
        groupings = {"folder": _folder_of} if in_folders else {}
        encoding = Encoding("pictures", {"size": self.size, "channels": self.channels, "invert": self.invert})
        return ClassDataset(
            self.name, splits, skipped, groupings=groupings, example_groups=groups, encoding=lambda: encoding
        )

    def where(self) -> str | None:
        """Return where the pictures would come from now; None: they were not found."""
        if self.known and not self.root:
            if all(self._cache(which).exists() for which in SPLITS):
                return f"cache: {self._cache('train').parent}"
            found = self.known.find()
            return str(found) if found else None
        return str(self.root) if self.root else "set by data.root"

    def cache_files(self) -> list[Path]:
        """Return the caches of the splits, see `DataSource`."""
        return [self._cache(which) for which in SPLITS]

    def check(self) -> str:
        """Decode all pictures and compare them with the cache; without the originals, only verify the cache."""
        root = self._find_root()
        cached = {which: check_cache(self._cache(which), self._key(root)) for which in SPLITS}
        if root is None:
            whole = {which: examples for which, examples in cached.items() if examples}
            if len(whole) < len(SPLITS):
                raise self._missing_error()
            summary = describe_splits({which: examples.offsets for which, examples in whole.items()}, Skipped())
            return f"{summary}; the cache is valid (no originals to compare it with)"
        layout = self._layout(root)
        found = {which: self._read(root, layout, which, self._key(root)) for which in SPLITS}
        for which, pictures in found.items():
            if not _matches_cache(pictures, cached[which]):
                raise UserError(f"{self._cache(which)} differs from {root}", "delete the one that is wrong.")
        state = "not cached yet" if None in cached.values() else "the cache matches"
        summary = describe_splits({which: pictures.offsets for which, pictures in found.items()}, layout.skipped)
        return "; ".join([summary, *layout.skipped.warnings, "all can be decoded", state])

    def _find_root(self) -> Path | None:
        """Return the folder or zip; None: it was not found, but it may be cached."""
        if self.root is None:
            if self.known is None:
                raise UserError("data=image_folder needs pictures", "set `data.root` to a folder or a zip.")
            return self.known.find()
        if not (is_file(self.root) or is_folder(self.root)):
            raise UserError(
                f"data.root={self._given_root} does not exist", "set `data.root` to a folder or a zip of pictures."
            )
        return self.root

    def _missing_error(self) -> UserError:
        assert self.known is not None
        return self.known.missing_error()

    def _layout(self, root: Path | None) -> Layout:
        """Return the pictures of each class and split."""
        if root is None:
            raise self._missing_error()
        with self._open(root, _MAX_BYTES) as (names, read):
            empty = [] if self.known else empty_folders(root)
            layout = find_layout(self.name, root, names, read, self._split_file(), empty)
        if self.known and self.split is None:
            self.known.check_complete(root, layout.splits)
        return merge_subfolders(root, layout) if self.in_groups else layout

    def _read(self, root: Path | None, layout: Layout, which: Split, key: str) -> ExampleStream:
        """Return a stream of the pictures of a split; it fails if the folder changes meanwhile."""
        assert root is not None, "it has a layout"
        classes = layout.splits[which]
        files = [file for of_class in classes.values() for file in of_class]
        shape = (self.channels, self.size, self.size)
        blocks = self._decode(root, which, files, key)
        offsets = np.cumsum([0, *map(len, classes.values())], dtype=np.int64)
        return ExampleStream(blocks, shape, np.dtype(np.uint8), offsets, tuple(classes))

    def _decode(self, root: Path, which: Split, files: Sequence[str], key: str) -> Iterator[NDArray[np.uint8]]:
        log.info("Reading %s of meta-%s from %s; this is done once.", counted(len(files), "picture"), which, root)
        with self._open(root, _MAX_BYTES) as (_, read):
            for file in files:
                picture = decode(f"{root}: {file}", read(file), self.size, self.channels)[None]
                yield 255 - picture if self.invert else picture
        if self._key(root) != key:
            raise UserError(f"{root} changed while it was read", "rerun the same command when it is complete.")

    def _key(self, root: Path | None) -> str:
        """Identify the content of the cache. A published set does not change; your own pictures may."""
        state = f"layout {LAYOUT}|{content_hash(root)}" if root and self.root else ""
        changes = f"{'-inverted' * self.invert}{'-boxes' * self.boxes}{'-in groups' * self.in_groups}"
        return f"pictures-{RECIPE}-{self.size}-{self.channels}{changes}|{self.name}|{state}"

    def _cache(self, which: Split) -> Path:
        return self._path(f"{which}.npz")

    def _path(self, name: str) -> Path:
        """Return the path of a file of the cache."""
        _, lists = self._split_file() or ("", b"")
        changes = f"{'inverted|' * self.invert}{'boxes|' * self.boxes}{'in groups|' * self.in_groups}"
        settings = f"{self.root}|{self.size}|{self.channels}|{changes}"
        own = hashlib.sha256(os.fsencode(settings) + lists).hexdigest()[:8]
        return data_root() / "pictures" / f"{self.name}-{own}-{name}"

    def _split_file(self) -> SplitFile | None:
        if self.split is not None:
            return self.split, read_split_file(self.name, self.split)
        packaged = self.known and self.known.split_file
        return (str(packaged), packaged.read_bytes()) if packaged else None


def _folder_of(class_name: str) -> str:
    """Return the folder that contains the folder of a class: "Greek" of "Greek/alpha"."""
    return class_name.rpartition("/")[0]


def _matches_cache(pictures: ExampleStream, cached: Examples | None) -> bool:
    """Decode all pictures; return whether they equal the cached ones, if there are any."""
    same = cached is None or (cached.class_names == pictures.class_names and len(cached.values) == len(pictures))
    for row, picture in enumerate(pictures.blocks):
        same = same and (cached is None or np.array_equal(cached.values[row], picture[0]))
    return same
