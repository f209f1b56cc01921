"""Reading one half of Omniglot from a zip or a folder, and refusing it unless it is whole."""

import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.data.archive import opened
from metarun.errors import UserError

DRAWERS = 20  # people who drew each character
_DRAWERS = [f"{drawer:02}" for drawer in range(1, DRAWERS + 1)]  # as files are named
SIDE = 28  # pixels, of what is returned
_SCAN_SIDE = 105  # pixels, of the originals
_PNG_END = b"IEND\xaeB`\x82"
_LARGEST = 1 << 20  # bytes; the originals have a few hundred

# <Alphabet>/characterNN/IIII_DD.png, DD the drawer; whatever else lies about (__MACOSX, Thumbs.db) is passed over.
_DRAWING = re.compile(r"(?:.*/)?([^/]+/character\d\d)/\d{4}_(\d\d)\.png")


@dataclass(frozen=True)
class Part:
    """One of the two halves: its name, and how much is in it."""

    name: str
    alphabets: int
    characters: int


PARTS = (Part("images_background", 30, 964), Part("images_evaluation", 20, 659))


def read_part(place: Path, part: Part) -> dict[str, NDArray[np.uint8]]:
    """Decode every drawing of a part; a zip is read in memory, never extracted.

    Args:
        place: a zip, or a folder, that holds `<Alphabet>/characterNN/IIII_DD.png` at any depth.
        part: what has to be there.

    Returns:
        {"Alphabet/characterNN": (20, 1, 28, 28) uint8, ink = 255 on 0}, in the order of names, drawings by drawer.

    Raises:
        UserError: something is missing, unreadable, or would leave the archive's folder; it names the file.
    """
    with opened(place, _LARGEST) as (names, read):
        characters = _group(place, names)
        _check_complete(place, part, characters)
        return {
            character: np.stack(
                [_decode(f"{place}: {drawings[drawer]}", read(drawings[drawer])) for drawer in _DRAWERS]
            )
            for character, drawings in sorted(characters.items())
        }


def _group(place: Path, names: list[str]) -> dict[str, dict[str, str]]:
    """Return {character: {drawer: file name}}."""
    characters: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        if found := _DRAWING.fullmatch(name):
            character, drawer = found.groups()
            if drawer in characters[character]:
                raise UserError(f"{place} holds drawing {drawer} of {character} twice; fetch it again.")
            characters[character][drawer] = name
    return characters


def _check_complete(place: Path, part: Part, characters: Mapping[str, Mapping[str, str]]) -> None:
    for character, drawings in sorted(characters.items()):
        if wrong := sorted({*_DRAWERS} ^ set(drawings)):
            state = "lacks" if wrong[0] in _DRAWERS else "has a surplus"
            raise UserError(
                f"{character} in {place} {state} drawing {wrong[0]}, {DRAWERS} are expected; fetch it again."
            )
    alphabets = {character.partition("/")[0] for character in characters}
    if (len(alphabets), len(characters)) != (part.alphabets, part.characters):
        raise UserError(
            f"{place} holds {len(characters)} characters in {len(alphabets)} alphabets{_first_gap(characters)} but "
            f"{part.name} has {part.characters} in {part.alphabets}; fetch it again."
        )


def _first_gap(characters: Mapping[str, object]) -> str:
    """Characters are numbered from 01 in every alphabet, so a missing one shows, unless it is the last."""
    for character in sorted(characters):
        alphabet, _, number = character.rpartition("/character")
        before = f"{alphabet}/character{int(number) - 1:02}"
        if int(number) > 1 and before not in characters:
            return f" ({before} is missing)"
    return ""


def _decode(where: str, content: bytes) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            if image.size != (_SCAN_SIDE, _SCAN_SIDE):
                raise ValueError(f"{image.width}x{image.height} pixels")
            if not content.endswith(_PNG_END):  # Pillow makes do with what is there
                raise ValueError("it is cut short")
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, zlib.error, struct.error, Image.DecompressionBombError) as error:
        reason = "no PNG" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(
            f"{where} is not a PNG of {_SCAN_SIDE}x{_SCAN_SIDE} pixels ({reason}); fetch the archive again."
        ) from error
    return 255 - np.asarray(small)[None]
