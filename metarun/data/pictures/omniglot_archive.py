"""Read one half of Omniglot from a zip or a folder; refuse it if it is incomplete."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.data.files.archive import open_files
from metarun.errors import UserError, counted

DRAWERS = 20  # people who drew each character
DRAWER_NAMES = tuple(f"{drawer:02}" for drawer in range(1, DRAWERS + 1))  # as files are named
SIDE = 28  # pixels, of the returned drawings
_SCAN_SIDE = 105  # pixels, of the originals
_PNG_END = b"IEND\xaeB`\x82"
_MAX_BYTES = 1 << 20  # of a drawing; the originals have a few hundred

# <Alphabet>/characterNN/IIII_DD.png, DD the drawer; other files (__MACOSX, Thumbs.db) are ignored.
_DRAWING = re.compile(r"(?:.*/)?([^/]+/character\d\d)/\d{4}_(\d\d)\.png")


@dataclass(frozen=True)
class Part:
    """One of the two halves.

    Args:
        name: of its folder or zip.
        alphabets: how many it has.
        characters: how many it has in all alphabets.
        pixels: sha256 of all drawings, by character and drawer, each 105 * 105 bytes of 0 or 255, independent of how
            they were packed. Empty: unknown.
    """

    name: str
    alphabets: int
    characters: int
    pixels: str = field(default="", repr=False)  # the keys of existing caches contain the repr of parts


PARTS = (
    Part("images_background", 30, 964, "f32435a80e3966c7aa29e20298c2c9ec9947dbf555cecea37d51cfc8e1365fa0"),
    Part("images_evaluation", 20, 659, "eb68a59f8009779aa59cff308d7af8e3b946a55d740dad6a8ed9364f7c20fa27"),
)


def read_part(path: Path, part: Part) -> dict[str, NDArray[np.uint8]]:
    """Decode every drawing of a part; a zip is read in memory, never extracted.

    Args:
        path: a zip or a folder that contains `<Alphabet>/characterNN/IIII_DD.png` at any depth.
        part: what it must contain.

    Returns:
        {"Alphabet/characterNN": (20, 1, 28, 28) uint8, ink = 255 on 0}, sorted by name, drawings by drawer.

    Raises:
        UserError: a file is missing, unreadable or outside the archive, or the drawings are not the expected ones.
    """
    with open_files(path, _MAX_BYTES) as (names, read):
        characters = _group(path, names)
        _check_complete(path, part, characters)
        pixels = hashlib.sha256()
        decoded = {
            character: np.stack(
                [_decode(f"{path}: {drawings[drawer]}", read(drawings[drawer]), pixels) for drawer in DRAWER_NAMES]
            )
            for character, drawings in sorted(characters.items())
        }
    if part.pixels and pixels.hexdigest() != part.pixels:
        raise UserError(
            f"{path} has the files of {part.name} but different drawings: the sha256 of their pixels is "
            f"{pixels.hexdigest()} but {part.pixels} is expected",
            "delete it and download it again from a source you trust.",
        )
    return decoded


def _group(path: Path, names: list[str]) -> dict[str, dict[str, str]]:
    """Return {character: {drawer: file name}}."""
    characters: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        if found := _DRAWING.fullmatch(name):
            character, drawer = found.groups()
            if drawer in characters[character]:
                raise UserError(f"{path} contains drawing {drawer} of {character} twice", "download it again.")
            characters[character][drawer] = name
    return characters


def _check_complete(path: Path, part: Part, characters: Mapping[str, Mapping[str, str]]) -> None:
    for character, drawings in sorted(characters.items()):
        if wrong := sorted({*DRAWER_NAMES} ^ set(drawings)):
            problem = "missing" if wrong[0] in DRAWER_NAMES else "unexpected"
            raise UserError(
                f"{character} in {path} should have {DRAWERS} drawings but drawing {wrong[0]} is {problem}",
                "download it again.",
            )
    alphabets = {character.partition("/")[0] for character in characters}
    if (len(alphabets), len(characters)) != (part.alphabets, part.characters):
        raise UserError(
            f"{path} contains {counted(len(characters), 'character')} in {counted(len(alphabets), 'alphabet')}"
            f"{_first_gap(characters)} but {part.name} has {part.characters} in {part.alphabets}",
            "download it again.",
        )


def _first_gap(characters: Mapping[str, object]) -> str:
    """Name a missing character: they are numbered from 01 in every alphabet, so a gap shows."""
    for character in sorted(characters):
        alphabet, _, number = character.rpartition("/character")
        before = f"{alphabet}/character{int(number) - 1:02}"
        if int(number) > 1 and before not in characters:
            return f" ({before} is missing)"
    return ""


def _decode(where: str, content: bytes, pixels: "hashlib._Hash") -> NDArray[np.uint8]:
    """Return a drawing at 28x28, and add the original to the hash."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            if image.size != (_SCAN_SIDE, _SCAN_SIDE):
                raise ValueError(f"{image.width}x{image.height} pixels")
            if not content.endswith(_PNG_END):  # Pillow accepts truncated files
                raise ValueError("it is truncated")
            original = image.convert("L")
            small = original.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    except Exception as error:  # Pillow raises a dozen types on untrusted bytes
        reason = "not a PNG" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        raise UserError(
            f"{where} is not a PNG of {_SCAN_SIDE}x{_SCAN_SIDE} pixels ({reason})", "download the archive again."
        ) from error
    pixels.update(original.tobytes())
    return 255 - np.asarray(small)[None]
