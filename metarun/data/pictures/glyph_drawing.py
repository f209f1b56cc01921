"""Draw a character as a small picture with jitter, in one of the twelve DejaVu faces that matplotlib ships."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
)
DRAWINGS = 20  # the twelve faces with a small jitter, then eight drawings with a stronger one
SIDE = 28  # pixels

# One size and one baseline for all characters, so that 'c' and 'C' differ. The widest letter is 1.4 em; letters
# reach 0.94 em above the baseline and 0.27 em below it. 18 pixels per em leave room for the jitter.
_EM = 18  # pixels
_BASELINE = 20  # pixels from the top
_FINER = 4  # drawn this many times larger, then averaged down

# Half ranges: tan(angle / 2), shear, relative scale, shift in pixels.
_SMALL = (0.04, 0.06, 0.06, 1.0)  # up to 4.6 degrees
_STRONG = (0.11, 0.16, 0.12, 2.0)  # up to 12.6 degrees


def characters_in_every_face() -> list[str]:
    """Return the characters that all twelve faces have, by code point."""
    from matplotlib.ft2font import FT2Font

    charmaps = [set(FT2Font(str(_font_folder() / f"{face}.ttf")).get_charmap()) for face in FACES]
    return [chr(code) for code in sorted(set.intersection(*charmaps))]


def draw_upright(character: str) -> NDArray[np.uint8]:
    """Return (12, 28, 28): the character in each face, without jitter; ink is 255 on 0."""
    return np.stack([_shrink(_draw_large(character, face)) for face in FACES])


def draw_jittered(character: str) -> NDArray[np.uint8]:
    """Return (20, 1, 28, 28) drawings; a pure function of the character and the versions of FreeType and Pillow."""
    drawings = [_draw_one(character, number) for number in range(DRAWINGS)]
    return np.stack(drawings)[:, None]


def _draw_one(character: str, number: int) -> NDArray[np.uint8]:
    from PIL.Image import Resampling, Transform

    matrix = _jitter(_uniform(character, number)[1:], *(_SMALL if number < len(FACES) else _STRONG))
    large = _draw_large(character, FACES[face_of(character, number)])
    return _shrink(large.transform(large.size, Transform.AFFINE, matrix, Resampling.BILINEAR))


def face_of(character: str, number: int) -> int:
    """Return the place in FACES of the face of a drawing, by its number: one in each face, then in random ones."""
    return number if number < len(FACES) else int(_uniform(character, number)[0] * len(FACES))


def _uniform(character: str, number: int) -> list[float]:
    """Return eight numbers in [0, 1) from a hash, which no library update can change."""
    digest = hashlib.sha256(f"{ord(character):04X}/{number}".encode()).digest()
    return [int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in range(0, 32, 4)]


def _jitter(uniform: list[float], turn: float, shear: float, scale: float, shift: float) -> tuple[float, ...]:
    """Return PIL's (a, b, c, d, e, f): the output pixel (x, y) shows the input at (a x + b y + c, d x + e y + f)."""
    signed = [2 * value - 1 for value in uniform]
    half = turn * signed[0]
    # A rotation from tan(angle / 2): plain arithmetic gives the same bits everywhere, the sine of a libm does not.
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    wider, higher, slant = 1 + scale * signed[1], 1 + scale * signed[2], shear * signed[3]
    a, b = cosine / wider, sine / wider + slant
    d, e = -sine / higher, cosine / higher
    centre = SIDE * _FINER / 2
    to_x, to_y = (centre + shift * _FINER * value for value in signed[4:6])
    return a, b, centre - a * to_x - b * to_y, d, e, centre - d * to_x - e * to_y


def _draw_large(character: str, face: str) -> "Image":
    from PIL import Image, ImageDraw

    side = SIDE * _FINER
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).text((side / 2, _BASELINE * _FINER), character, font=_font(face), fill=255, anchor="ms")
    return image


def _shrink(image: "Image") -> NDArray[np.uint8]:
    return np.asarray(image.reduce(_FINER))


@cache
def _font(face: str) -> "FreeTypeFont":
    from PIL import ImageFont

    # The basic layout does not need Raqm, which not every build of Pillow has.
    return ImageFont.truetype(_font_folder() / f"{face}.ttf", _EM * _FINER, layout_engine=ImageFont.Layout.BASIC)


def _font_folder() -> Path:
    spec = find_spec("matplotlib")  # not imported: importing takes half a second and may write to the home folder
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
