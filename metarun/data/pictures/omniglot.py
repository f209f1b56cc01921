"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people."""

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.data.class_splits import draw_splits
from metarun.data.contents import describe
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Split
from metarun.data.files.cache import Storage, apply_storage, load_or_build, mirror, read_cache
from metarun.data.pictures.omniglot_archive import DRAWER_NAMES, DRAWERS, PARTS, SIDE, Part, read_part
from metarun.data.pictures.omniglot_download import download_part, find_part
from metarun.data.splits import split_classes, unlisted
from metarun.errors import UserError
from metarun.system.paths import PathText, data_root

log = logging.getLogger(__name__)

VINYALS_TRAINVAL = 1200  # characters; the other 423 are meta-test
RANDOM_VAL, RANDOM_TEST = 100, 423  # characters; the other 1,100 are meta-train

# The meta-val alphabets of the Vinyals split: 172 characters, all in images_background. `lake` has no meta-val part and
# holds out the same ones, so that a checkpoint is chosen on the same characters under both splits.
VAL_ALPHABETS = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")


class Omniglot:
    """Omniglot at 28x28 (Lake, Salakhutdinov, Tenenbaum, Science 350, 2015); a class is a character, 20 drawings each.

    Drawings are (1, 28, 28) uint8, ink = 255, resized by Lanczos. They are searched for in this order: the cache;
    `images_background` and `images_evaluation`, folders or zips, under the data root (in its `omniglot` folder or
    directly); the same under `METARUN_MIRROR`, a folder or a URL; the official download. The content is always
    verified. Classes are grouped by `alphabet`, drawings by `drawer`: "01" to "20", who drew all characters of an
    alphabet; the same number in another alphabet may be another person.

    Args:
        split: `vinyals` (Vinyals et al. 2016: 1,028 / 172 / 423 characters), `lake` (background alphabets, five of them
            for meta-val, then the evaluation alphabets: 792 / 172 / 659), `random` (1,100 / 100 / 423 characters at
            random, as Finn et al. 2017), or the path of a file that lists characters or alphabets (see
            `metarun.data.splits`).
        rotations: per split, 1 or 4: with 4, each character rotated by 90, 180 and 270 degrees counter-clockwise (as in
            the code that the published lists come from) is a class of its own, such as "Greek/character01/rot090".
        invert: dark ink on white instead of light on dark.
        storage: "memory" or "disk", see `apply_storage`.
    """

    name = "omniglot"
    summary = "1,623 handwritten characters of 50 alphabets, 20 drawings each"
    licence = "MIT"

    def __init__(
        self,
        split: Literal["vinyals", "lake", "random"] | PathText = "vinyals",
        rotations: Mapping[str, int] | None = None,
        invert: bool = False,
        storage: Storage = "memory",
    ) -> None:
        self.split = split
        self.invert, self.storage = invert, storage
        self.rotations = dict(rotations) if rotations is not None else dict.fromkeys(SPLITS, 4)
        for which in SPLITS:
            if self.rotations.get(which) not in (1, 4):
                raise UserError(
                    f"data.rotations.{which}={self.rotations.get(which)} but it must be 1 (upright) or 4",
                    f"correct `data.rotations.{which}`.",
                )

    def load(self) -> ClassDataset:
        """Return the characters, found or downloaded, verified and cached."""
        return apply_storage(self._split(load_characters()), self.storage)

    def where(self) -> str | None:
        """Return where the characters would come from now; None: from the official download."""
        if _cache_path().exists():
            return f"cache: {_cache_path()}"
        paths = [find_part(part) for part in PARTS]
        if all(paths):
            return " and ".join(map(str, paths))
        return f"mirror {mirror()}" if isinstance(mirror(), str) else None

    def cache_files(self) -> list[Path]:
        """Return the cache, see `DataSource`."""
        return [_cache_path()]

    def check(self) -> str:
        """Decode all originals and compare them with the cache; without the originals, only verify the cache."""
        characters, summary = check_characters(PARTS)
        return f"{describe(self._split(characters))}; {summary}"

    def _split(self, characters: Examples) -> ClassDataset:
        rules = {"lake": split_lake, "random": split_random, "vinyals": split_vinyals}
        lists = split_classes(self.name, self.split, characters.class_names, rules)
        splits = {split: rotate(characters, names, self.rotations[split]) for split, names in lists.items()}
        if self.invert:
            splits = {split: examples.inverted() for split, examples in splits.items()}
        skipped = unlisted(self.split, lists, characters.class_names)
        encoding = Encoding("pictures", {"size": SIDE, "channels": 1, "invert": not self.invert})
        drawers = {split: drawers_of(examples) for split, examples in splits.items()}
        return ClassDataset(
            self.name,
            splits,
            skipped,
            groupings={"alphabet": alphabet_of},
            example_groups={"drawer": drawers},
            encoding=lambda: encoding,
        )


def load_characters(parts: Sequence[Part] = PARTS) -> Examples:
    """Return all characters upright, background before evaluation, from the cache or the originals."""

    def build() -> Examples:
        return _read([find_part(part) or download_part(part) for part in parts], parts)

    return load_or_build(_cache_path(), _key(parts), build)


def check_characters(parts: Sequence[Part]) -> tuple[Examples, str]:
    """Return the characters and a summary of the check."""
    cached = read_cache(_cache_path(), _key(parts))
    paths = [path for part in parts if (path := find_part(part))]
    counts = f"{' + '.join(str(part.characters) for part in parts)} characters, {DRAWERS} images each"
    if len(paths) < len(parts):
        if cached is None:
            raise UserError("omniglot was not found, or its cache is damaged", "run `metarun data get omniglot`.")
        return cached, f"{counts}; the cache is valid (no originals to compare it with)"
    found = _read(paths, parts)
    if cached is None:
        return found, f"{counts}, all can be decoded; not cached yet"
    if cached.class_names != found.class_names or not np.array_equal(cached.values, found.values):
        raise UserError(f"{_cache_path()} differs from {paths[0]}", "delete the one that is wrong.")
    return found, f"{counts}, all can be decoded; the cache matches"


def alphabet_of(character: str) -> str:
    """Return the alphabet of a character, however it is rotated: "Greek" of "Greek/character01/rot090"."""
    return character.partition("/")[0]


def drawers_of(examples: Examples) -> ExampleGroups:
    """Return the drawer of each drawing: `read_part` and `rotate` keep those of a character in the order of drawers."""
    return ExampleGroups(np.concatenate([np.arange(size) for size in examples.sizes]), DRAWER_NAMES)


def split_vinyals(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the split of Vinyals et al. 2016: the first 1,200 characters are train and val, the last 423 test.

    One alphabet, Gurmukhi, therefore has characters in train and in test.
    """
    train, val = _without_val_alphabets(names[:VINYALS_TRAINVAL])
    return {"train": train, "val": val, "test": list(names[VINYALS_TRAINVAL:])}


def split_lake(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the split of Lake et al. 2015: background alphabets are train (and val), evaluation alphabets test."""
    background = PARTS[0].characters
    train, val = _without_val_alphabets(names[:background])
    return {"train": train, "val": val, "test": list(names[background:])}


def split_random(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return a split of the sizes of Finn et al. 2017, with characters of all 50 alphabets in train and test.

    New characters of known alphabets are easier than those of `split_vinyals`. The authors' own characters depend on
    the order of files on their disk; these on a hash of the names.
    """
    return draw_splits(names, RANDOM_VAL, RANDOM_TEST, seed=0)


def rotate(characters: Examples, names: Sequence[str], rotations: int) -> Examples:
    """Return the examples of these characters: upright under their own names, or four classes of each."""
    if rotations == 1:
        return Examples.from_classes({name: characters.of_class(name) for name in names})
    turned = [np.rot90(characters.values, turns, axes=(-2, -1)) for turns in range(rotations)]
    rows = {name: slice(*ends) for name, ends in zip(characters.class_names, pairwise(characters.offsets), strict=True)}
    return Examples.from_classes(
        {f"{name}/rot{90 * turns:03}": turned[turns][rows[name]] for name in names for turns in range(rotations)}
    )


def _without_val_alphabets(names: Sequence[str]) -> tuple[list[str], list[str]]:
    held_out = [alphabet_of(name) in VAL_ALPHABETS for name in names]
    return (
        [name for name, held in zip(names, held_out, strict=True) if not held],
        [name for name, held in zip(names, held_out, strict=True) if held],
    )


def _read(paths: Sequence[Path], parts: Sequence[Part]) -> Examples:
    log.info("Reading omniglot from %s; this takes about ten seconds.", " and ".join(map(str, paths)))
    classes: dict[str, NDArray[np.uint8]] = {}
    for path, part in zip(paths, parts, strict=True):
        drawings = read_part(path, part)
        if both := sorted(set(classes) & set(drawings)):
            raise UserError(f"{both[0]} is in both {paths[0]} and {path}", "download both again.")
        classes |= drawings
    return Examples.from_classes(classes)


def _cache_path() -> Path:
    return data_root() / "omniglot" / f"characters-{SIDE}x{SIDE}.npz"


def _key(parts: Sequence[Part]) -> str:
    # Without Pillow's version: an update must not need the originals again.
    return f"omniglot-1-{SIDE}x{SIDE}-lanczos|{parts}"
