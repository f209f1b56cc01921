import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from metarun.data.pictures.image_decoding import decode
from metarun.errors import UserError
from tests.support.fake_images import make_picture


def as_bytes(image, kind="PNG", **options):
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_a_picture_of_the_right_size_keeps_its_pixels():
    content = make_picture(3)
    pixels = np.asarray(Image.open(BytesIO(content)))
    found = decode("it", content, 12, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(("width", "height"), [(40, 20), (7, 30), (84, 84)])
def test_other_sizes_are_resized_whole(width, height):
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (0, 0, width // 2, height))  # the left half
    found = decode("it", as_bytes(image), 12, 3)
    assert found.shape == (3, 12, 12)
    assert found[:, :, 1].mean(1).tolist() == pytest.approx([0, 0, 255], abs=20)
    assert found[:, :, -2].mean(1).tolist() == pytest.approx([255, 0, 0], abs=20)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_colour_or_grey(mode, channels):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode("it", make_picture(1, mode=mode, kind=kind), 12, channels).shape == (channels, 12, 12)


def test_grey_is_the_same_in_every_channel():
    red, green, blue = decode("it", make_picture(1, mode="L"), 12, 3)
    assert np.array_equal(red, green)
    assert np.array_equal(red, blue)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(mode):
    clear = Image.new("RGBA", (12, 12), (0, 0, 0, 0)).convert(mode)
    content = as_bytes(clear, transparency=0) if mode == "P" else as_bytes(clear)
    assert (decode("it", content, 12, 3) == 255).all()


def test_the_exif_orientation_is_applied():
    image = Image.new("RGB", (12, 12), "black")
    image.paste("white", (0, 0, 12, 6))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    found = decode("it", as_bytes(image, "JPEG", exif=exif, quality=95), 12, 1)
    assert found[0, :, :5].mean() < 20
    assert found[0, :, 7:].mean() > 235


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture at all", "not a picture"),
        (b"", "not a picture"),
        (make_picture(1, 60, 60, kind="JPEG")[:800], ".*truncated.*"),
        (as_bytes(Image.new("I;16", (12, 12))), "mode I;16, more than 8 bits a channel"),
    ],
    ids=["text", "empty", "truncated", "16 bits"],
)
def test_a_picture_that_cannot_be_decoded_is_named_with_the_reason(content, reason):
    with pytest.raises(UserError, match=rf"^birds: a/1.jpg cannot be decoded \({reason}\); fix or remove it"):
        decode("birds: a/1.jpg", content, 12, 3)


@pytest.mark.parametrize("side", [20_000, 2**31 - 1])
def test_a_picture_that_claims_to_be_enormous_is_refused(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = bytearray(make_picture(1))
    content[16:29] = header
    content[29:33] = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    with pytest.raises(UserError, match=r"a\.png cannot be decoded \(Image size \(\d+ pixels\) exceeds limit"):
        decode("a.png", bytes(content), 12, 3)


def test_an_animation_gives_its_first_frame():
    red, blue = (Image.new("RGB", (12, 12), colour) for colour in ("red", "blue"))
    content = as_bytes(red, "GIF", save_all=True, append_images=[blue])
    assert decode("it", content, 12, 3)[:, 5, 5].tolist() == [255, 0, 0]


def test_16_bits_a_channel_in_colour_keep_the_upper_8():
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0" + bytes([200, 1, 100, 2, 50, 3]))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", pixel), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    assert decode("it", content, 1, 3).ravel().tolist() == [200, 100, 50]
