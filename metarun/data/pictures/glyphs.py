"""Printed characters of five scripts: a built-in data set shaped like Omniglot."""

import logging
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.data.contents import describe
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import ClassDataset, Examples, Split
from metarun.data.files.cache import Storage, apply_storage, load_or_build, read_cache
from metarun.data.pictures.glyph_drawing import (
    DRAWINGS,
    FACES,
    SIDE,
    characters_in_every_face,
    draw_jittered,
    draw_upright,
    face_of,
)
from metarun.data.splits import split_classes, unlisted
from metarun.errors import UserError
from metarun.system.paths import PathText, data_root

log = logging.getLogger(__name__)

RECIPE = 1  # increase it with every change that can change a drawing or the choice of classes

# Whole scripts are held out: meta-training sees no letter of a meta-test script. If letters of two scripts look alike,
# the one of the earlier script is kept.
SCRIPTS: dict[Split, tuple[str, ...]] = {
    "train": ("DIGIT", "LATIN"),
    "val": ("GEORGIAN",),
    "test": ("GREEK", "CYRILLIC", "ARMENIAN"),
}

# The distance of two drawings: the sum of absolute differences over the ink of the darker one; 0 is equal.
ALIKE_IN_A_FACE = 0.05  # in any one face: drawings this close cannot be told apart
ALIKE_ON_AVERAGE = 0.12  # over the faces: excludes barely visible strokes, such as D and D with stroke (0.11)


class Glyphs:
    """Letters and digits in the twelve DejaVu faces that matplotlib ships; a class is a character, 20 drawings each.

    Drawings are (1, 28, 28) uint8, ink = 255: one in each face with a small affine jitter, then eight in random faces
    with a stronger one. Letters with accents, superscripts and ligatures (those with a decomposition) are excluded, and
    only one of several similar characters is kept. Classes are grouped by `script`, drawings by `face`.

    Args:
        split: `scripts` (meta-train Latin and digits; meta-val Georgian; meta-test Greek, Cyrillic and Armenian), or
            the path of a file that lists classes (see `metarun.data.splits`).
        invert: dark ink on white instead of light on dark.
        storage: "memory" or "disk", see `apply_storage`.
    """

    name = "glyphs"
    summary = "about 500 printed letters and digits of 5 scripts, 20 drawings each"
    licence = "Bitstream Vera (free to use and embed)"

    def __init__(
        self, split: Literal["scripts"] | PathText = "scripts", invert: bool = False, storage: Storage = "memory"
    ) -> None:
        self.split = split
        self.invert, self.storage = invert, storage

    def load(self) -> ClassDataset:
        """Return the drawings, rendered on first use (seconds) and cached."""
        return apply_storage(self._split(load_or_build(_cache_path(), _key(), render)), self.storage)

    def where(self) -> str:
        """Return where the drawings would come from; they are always available."""
        return f"cache: {_cache_path()}" if _cache_path().exists() else "built in (rendered on first use)"

    def cache_files(self) -> list[Path]:
        """Return the cache, see `DataSource`."""
        return [_cache_path()]

    def check(self) -> str:
        """Render all characters again and compare them with the cache, if there is one."""
        rendered, cached = render(), read_cache(_cache_path(), _key())
        characters = f"{len(rendered.class_names)} characters, {DRAWINGS} drawings each, no two alike"
        found = f"{describe(self._split(rendered))}; {characters}"
        if cached is None:
            return f"{found}; not cached yet"
        if cached.class_names != rendered.class_names or not np.array_equal(cached.values, rendered.values):
            raise UserError(
                f"{_cache_path()} differs from what is rendered now", "delete it; the next run renders it again."
            )
        return f"{found}; the cache matches"

    def _split(self, drawings: Examples) -> ClassDataset:
        lists = split_classes(self.name, self.split, drawings.class_names, {"scripts": split_by_script})
        splits = {split: select(drawings, names) for split, names in lists.items()}
        if self.invert:
            splits = {split: examples.inverted() for split, examples in splits.items()}
        skipped = unlisted(self.split, lists, drawings.class_names)
        encoding = Encoding("pictures", {"size": SIDE, "channels": 1, "invert": not self.invert})
        faces = {split: _faces(examples) for split, examples in splits.items()}
        return ClassDataset(
            self.name,
            splits,
            skipped,
            groupings={"script": _script},
            example_groups={"face": faces},
            encoding=lambda: encoding,
        )


def split_by_script(class_names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the classes of each split: whole scripts, see `SCRIPTS`."""
    return {split: [name for name in class_names if _script(name) in scripts] for split, scripts in SCRIPTS.items()}


def render() -> Examples:
    """Choose the characters and draw them.

    Returns:
        Examples of all classes, the scripts in the order of SCRIPTS, within a script by code point.
    """
    log.info("Rendering glyphs; this takes a few seconds and is done once per version of the fonts.")
    characters = keep_distinct({character: draw_upright(character) for character in letters_and_digits()})
    drawings = Examples.from_classes({_name(character): draw_jittered(character) for character in characters})
    assert len({drawing.tobytes() for drawing in drawings.values}) == len(drawings.values)
    return drawings


def letters_and_digits() -> list[str]:
    """Return the plain letters and digits of the five scripts that every face has, in the order of SCRIPTS."""
    order = [script for scripts in SCRIPTS.values() for script in scripts]
    found = [c for c in characters_in_every_face() if _is_plain(c) and _script(_name(c)) in order]
    return sorted(found, key=lambda c: (order.index(_script(_name(c))), ord(c)))


def keep_distinct(drawings: dict[str, NDArray[np.uint8]]) -> list[str]:
    """Return the characters that do not look like an earlier one.

    Args:
        drawings: character -> (faces, 28, 28).
    """
    pixels = np.stack(list(drawings.values())).astype(np.float32)
    pixels = pixels.reshape(*pixels.shape[:2], -1)  # (characters, faces, pixels)
    ink = pixels.sum(-1)
    kept: list[int] = []
    for here in range(len(pixels)):
        # The difference in ink is a lower bound of the distance: for most pairs, no pixels need to be compared.
        lighter, darker = np.minimum(ink[kept], ink[here]), np.maximum(ink[kept], ink[here])
        near = [kept[row] for row in np.flatnonzero(_are_alike(1 - lighter / darker))]
        apart = np.abs(pixels[near] - pixels[here]).sum(-1) / np.maximum(ink[near], ink[here])  # (near, faces)
        if not _are_alike(apart).any():
            kept.append(here)
    characters = list(drawings)
    return [characters[here] for here in kept]


def _are_alike(apart: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which pairs are alike (pairs,), from their distances (pairs, faces)."""
    alike: NDArray[np.bool_] = (apart.min(-1) <= ALIKE_IN_A_FACE) | (apart.mean(-1) <= ALIKE_ON_AVERAGE)
    return alike


def select(examples: Examples, class_names: Sequence[str]) -> Examples:
    """Return the examples of these classes only, in this order."""
    return Examples.from_classes({name: examples.of_class(name) for name in class_names})


def _is_plain(character: str) -> bool:
    """Whether it is a letter or digit without a decomposition, as accented letters and ligatures have."""
    return unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd") and not unicodedata.decomposition(character)


def _name(character: str) -> str:
    return unicodedata.name(character)


def _faces(examples: Examples) -> ExampleGroups:
    """Return the face of each drawing."""
    drawings = ((name, n) for name, size in zip(examples.class_names, examples.sizes, strict=True) for n in range(size))
    faces = [face_of(unicodedata.lookup(name), number) for name, number in drawings]
    return ExampleGroups(np.array(faces, np.int64), FACES)


def _script(class_name: str) -> str:
    return class_name.partition(" ")[0]


def _key() -> str:
    from importlib.metadata import version

    from PIL import features

    freetype = features.version("freetype2")
    return f"glyphs-{RECIPE}-pillow{version('pillow')}-freetype{freetype}-matplotlib{version('matplotlib')}"


def _cache_path() -> Path:
    return data_root() / "glyphs" / f"{_key()}.npz"
