"""Decode a picture into an array of a fixed size."""

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")  # whatever the suffix of the file
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # Pillow would clip these at 255


def decode(where: str, content: bytes, size: int, channels: int) -> NDArray[np.uint8]:
    """Return (channels, size, size) uint8: the whole picture resized to a square by Lanczos, as MAML's code does.

    The EXIF orientation is applied, transparency becomes white, and of an animation the first frame is taken. A picture
    of the right size keeps its pixels.

    Args:
        where: name of the picture, for messages.
        content: bytes of the file.
        size: pixels, of width and of height.
        channels: 3 (red, green, blue) or 1 (grey).

    Raises:
        UserError: it cannot be decoded, or has more than 8 bits a channel.
    """
    from PIL import Image

    flat = open_picture(where, content, "RGB" if channels == 3 else "L")
    if flat.size != (size, size):
        flat = flat.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(flat).reshape(size, size, channels).transpose(2, 0, 1)


def open_picture(where: str, content: bytes, mode: str) -> "Image":
    """Return a picture in its own size; see `decode`.

    Args:
        where: name of the picture, for messages.
        content: bytes of the file.
        mode: Pillow's name of the channels, "RGB" or "L".
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(content), formats=_FORMATS) as image:
            if image.mode in _DEEP:
                raise ValueError(f"mode {image.mode}, more than 8 bits a channel")
            return _on_white(ImageOps.exif_transpose(image)).convert(mode)
    except Exception as error:  # Pillow raises a dozen types on untrusted bytes, such as DecompressionBombError
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        raise UserError(f"{where} cannot be decoded ({reason})", "fix or remove it.") from error


def _on_white(image: "Image") -> "Image":
    from PIL import Image

    if not image.has_transparency_data:
        return image
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
