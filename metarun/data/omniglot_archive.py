"""Reading one half of Omniglot from a zip or a folder, and refusing it unless it is whole."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """One of the two halves.

    Args:
        name: of its folder or zip.
        alphabets: how many are in it.
        characters: of all alphabets together.
        pixels: sha256 of all drawings, by character and drawer, each 105 * 105 bytes of 0 or 255; whoever packed them,
            and in whatever container, that is what they are. Empty: not known.
    """

    name: str
    alphabets: int
    characters: int
    pixels: str = field(default="", repr=False)  # caches are known by the repr of parts, also those made before


PARTS = (
    Part("images_background", 30, 964, "f32435a80e3966c7aa29e20298c2c9ec9947dbf555cecea37d51cfc8e1365fa0"),
    Part("images_evaluation", 20, 659, "eb68a59f8009779aa59cff308d7af8e3b946a55d740dad6a8ed9364f7c20fa27"),
)


def read_part(place: Path, part: Part) -> dict[str, NDArray[np.uint8]]:
    """Decode every drawing of a part; a zip is read in memory, never extracted.

    Args:
        place: a zip, or a folder, that holds `<Alphabet>/characterNN/IIII_DD.png` at any depth.
        part: what has to be there.

    Returns:
        {"Alphabet/characterNN": (20, 1, 28, 28) uint8, ink = 255 on 0}, in the order of names, drawings by drawer.

    Raises:
        UserError: something is missing, unreadable, or would leave the archive's folder, it names the file; or the
            drawings are others than they should be.
    """
    with opened(place, _LARGEST) as (names, read):
        characters = _group(place, names)
        _check_complete(place, part, characters)
        pixels = hashlib.sha256()
        decoded = {
            character: np.stack(
                [_decode(f"{place}: {drawings[drawer]}", read(drawings[drawer]), pixels) for drawer in _DRAWERS]
            )
            for character, drawings in sorted(characters.items())
        }
    if part.pixels and pixels.hexdigest() != part.pixels:
        raise UserError(
            f"{place} has the files of {part.name} but other drawings: the sha256 of their pixels is "
            f"{pixels.hexdigest()} where {part.pixels} is expected",
            "delete it, fetch it again from a place you trust.",
        )
    return decoded


def _group(place: Path, names: list[str]) -> dict[str, dict[str, str]]:
    """Return {character: {drawer: file name}}."""
    characters: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        if found := _DRAWING.fullmatch(name):
            character, drawer = found.groups()
            if drawer in characters[character]:
                raise UserError(f"{place} holds drawing {drawer} of {character} twice", "fetch it again.")
            characters[character][drawer] = name
    return characters


def _check_complete(place: Path, part: Part, characters: Mapping[str, Mapping[str, str]]) -> None:
    for character, drawings in sorted(characters.items()):
        if wrong := sorted({*_DRAWERS} ^ set(drawings)):
            state = "lacks" if wrong[0] in _DRAWERS else "has a surplus"
            raise UserError(
                f"{character} in {place} {state} drawing {wrong[0]}, {DRAWERS} are expected", "fetch it again."
            )
    alphabets = {character.partition("/")[0] for character in characters}
    if (len(alphabets), len(characters)) != (part.alphabets, part.characters):
        raise UserError(
            f"{place} holds {len(characters)} characters in {len(alphabets)} alphabets{_first_gap(characters)} but "
            f"{part.name} has {part.characters} in {part.alphabets}",
            "fetch it again.",
        )


def _first_gap(characters: Mapping[str, object]) -> str:
    """Characters are numbered from 01 in every alphabet, so a missing one shows, unless it is the last."""
    for character in sorted(characters):
        alphabet, _, number = character.rpartition("/character")
        before = f"{alphabet}/character{int(number) - 1:02}"
        if int(number) > 1 and before not in characters:
            return f" ({before} is missing)"
    return ""


def _decode(where: str, content: bytes, pixels: "hashlib._Hash") -> NDArray[np.uint8]:
    """Return a drawing at 28x28, and add the original to what is hashed."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            if image.size != (_SCAN_SIDE, _SCAN_SIDE):
                raise ValueError(f"{image.width}x{image.height} pixels")
            if not content.endswith(_PNG_END):  # Pillow makes do with what is there
                raise ValueError("it is cut short")
            original = image.convert("L")
            small = original.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    except Exception as error:  # Pillow raises a dozen kinds on foreign bytes
        reason = "no PNG" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        raise UserError(
            f"{where} is not a PNG of {_SCAN_SIDE}x{_SCAN_SIDE} pixels ({reason})", "fetch the archive again."
        ) from error
    pixels.update(original.tobytes())
    return 255 - np.asarray(small)[None]
