"""From the bytes of a picture to an array of a fixed size."""

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")  # whatever the file is called
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # Pillow would cut these off at 255


def decode(where: str, content: bytes, size: int, channels: int) -> NDArray[np.uint8]:
    """Return (channels, size, size) uint8: the whole picture squashed to a square by Lanczos, as MAML's code does.

    It is turned as its camera says, what is transparent becomes white, and of an animation there is the first picture.
    One that has the size already keeps its pixels.

    Args:
        where: what messages call the picture.
        content: of the file.
        size: pixels, of width and of height.
        channels: 3 (red, green, blue) or 1 (grey).

    Raises:
        UserError: it cannot be decoded, or has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(content), formats=_FORMATS) as image:
            if image.mode in _DEEP:
                raise ValueError(f"mode {image.mode}, more than 8 bits a channel")
            flat = _on_white(ImageOps.exif_transpose(image)).convert("RGB" if channels == 3 else "L")
    except Exception as error:  # Pillow's plugins raise a dozen kinds on foreign bytes, DecompressionBombError is one
        reason = "no picture" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
        raise UserError(f"{where} cannot be decoded ({reason})", "mend it or take it away.") from error
    if flat.size != (size, size):
        flat = flat.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(flat).reshape(size, size, channels).transpose(2, 0, 1)


def _on_white(image: "Image") -> "Image":
    from PIL import Image

    if not image.has_transparency_data:
        return image
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
