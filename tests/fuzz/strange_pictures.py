"""Strategies for pictures, the names of their files, and the zips and folders that hold them."""

import os
import struct
import warnings
import zipfile
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.strange import FOREIGN, TEXTS, spoilt
from tests.support.fake_images import class_folders, split_folders, tables

Files = dict[str, bytes]
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
KINDS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "ICO", "TGA", "PCX", "DDS", "EPS")


@cache
def picture(mode: str, kind: str, width: int = 5, height: int = 7, frames: int = 1) -> bytes:
    """Return a picture; empty if this format does not support the mode."""
    images = [
        Image.new("RGB", (width, height), (40 * i, 90, 200)).convert("L" if mode in ("I;16", "LAB") else mode)
        for i in range(frames)
    ]
    images = [image.convert(mode) if mode == "I;16" else image for image in images]
    stream, more = BytesIO(), {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    try:
        with warnings.catch_warnings(action="ignore"):
            images[0].save(stream, kind, **more)
    except (OSError, ValueError, KeyError):
        return b""
    return stream.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_claims(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A small PNG whose header claims many pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def png_with_text(size: int) -> bytes:
    """A PNG with a text chunk that inflates to `size` bytes."""
    whole = picture("RGB", "PNG")
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size)))
    return whole[:33] + text + whole[33:]


WHOLE = [
    content
    for content in (
        *(picture(mode, kind) for mode in MODES for kind in KINDS),
        *(picture("P", kind, frames=3) for kind in ("GIF", "WEBP", "TIFF", "PNG")),
        *(picture("RGB", "PNG", *size) for size in ((1, 1), (1, 3000), (3000, 1), (12, 12))),
    )
    if content
]
BOMBS = [
    *(
        png_that_claims(*size)
        for size in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 0), (2**31 - 1, 1), (12_000, 12_000))
    ),
    *(png_that_claims(9, 9, depth, colour) for depth in (0, 1, 16, 255) for colour in (0, 2, 3, 7)),
    png_with_text(100 << 20),
    b"P6 99999999 99999999 255\n",
    b"P5\n# " + b"x" * 100_000,
    b"GIF89a" + b"\xff" * 100,
    b"BM" + b"\xff" * 60,
    b"II*\x00" + b"\x08\x00\x00\x00" + b"\xff" * 100,
]
CONTENTS = st.one_of(st.sampled_from(WHOLE), spoilt(st.sampled_from(WHOLE)), st.sampled_from(BOMBS), FOREIGN)

LAYOUTS = [split_folders(count=2, size=4), class_folders(count=2), tables(count=2)]
NAMES = st.one_of(
    st.sampled_from(sorted({name for files in LAYOUTS for name in files})),
    st.builds("{}/{}/{}.png".format, st.sampled_from(["train", "val", "test"]), TEXTS, TEXTS),
    st.builds("{}.png".format, TEXTS),
    st.sampled_from(
        [
            "./train/ant/1.png",
            "train//ant/2.png",
            "TRAIN/ant/3.PNG",
            "train/ant/",
            "train/ant/x.png/",
            "a/" * 9_000 + "x.png",
        ]
    ),
    st.sampled_from(
        ["/etc/x.png", "../x.png", "train/../../x.png", "C:/x.png", "..\\x.png", "__MACOSX/x.png", ".x.png"]
    ),
    TEXTS,
)


@st.composite
def strange_files(draw: Any) -> Files:
    """A valid layout with some files added or removed."""
    files = dict(draw(st.sampled_from(LAYOUTS)))
    for _ in range(draw(st.integers(0, 2))):
        files[draw(NAMES)] = draw(CONTENTS)
    for name in draw(st.lists(st.sampled_from(sorted(files)), max_size=1)):
        del files[name]
    return files


@st.composite
def strange_zips(draw: Any) -> bytes:
    """A zip of strange files: any compression, links, duplicates, wrong sizes."""
    stream = BytesIO()
    how = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(stream, "w", how) as archive:
        for name, content in draw(strange_files()).items():
            entry = zipfile.ZipInfo(name.encode("utf-8", "replace").decode()[:5_000])
            entry.compress_type = how
            if draw(st.integers(0, 30)) == 0:
                entry.external_attr = 0o120777 << 16  # a link whose content is its target
            archive.writestr(entry, content)
        if draw(st.integers(0, 20)) == 0:
            archive.writestr(archive.namelist()[0] if archive.namelist() else "x", b"again")
        if draw(st.integers(0, 20)) == 0 and archive.infolist():
            archive.infolist()[-1].file_size = draw(st.sampled_from([0, 1, 2**20, 2**31, 2**40]))
    return stream.getvalue()


def write_files(folder: Path, files: Files) -> None:
    """Write the files that the file system accepts; names with `..` stay inside the folder."""
    for name, content in files.items():
        try:
            path = folder / Path(*(part for part in name.split("/") if part not in ("", "..")))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (OSError, ValueError):
            continue


def add_links(folder: Path, draw: Any) -> None:
    """Add links of all kinds to a folder, and pipes, which never end."""
    places = [folder, *folder.rglob("*")]
    for number in range(draw(st.integers(0, 2))):
        inside = draw(st.sampled_from([path for path in places if path.is_dir()]))
        here = inside / f"link{number}{draw(st.sampled_from(['', '.png', '.csv']))}"
        kind = draw(st.sampled_from(["up", "loop", "nothing", "device", "out", "pipe", "another"]))
        if kind == "pipe":
            os.mkfifo(here)
            continue
        target = {
            "up": folder,
            "loop": here,
            "nothing": folder / "nothing",
            "device": Path("/dev/zero"),
            "out": folder.parent / "outside",
            "another": draw(st.sampled_from(places)),
        }[kind]
        here.symlink_to(target)
