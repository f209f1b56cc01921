"""A tiny Omniglot in the real layout: 3 + 2 characters."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from metarun.data.pictures.omniglot_archive import Part

PARTS = (Part("images_background", 2, 3), Part("images_evaluation", 1, 2))
CHARACTERS = {
    "images_background": ("Greek/character01", "Greek/character02", "Hebrew/character01"),
    "images_evaluation": ("Tibetan/character01", "Tibetan/character02"),
}


def make_png(number: int, drawer: int, side: int = 105) -> bytes:
    """Return a white picture with a black block whose position encodes the character and the drawer."""
    paper = np.full((side, side), True)
    paper[8 * number : 8 * number + 8, 4 * drawer : 4 * drawer + 8] = False
    stream = BytesIO()
    Image.fromarray(paper).save(stream, "PNG")
    return stream.getvalue()


def make_files(part: str) -> dict[str, bytes]:
    """Return {path in the archive: content} of one half."""
    return {
        f"{part}/{character}/{number:04}_{drawer:02}.png": make_png(number, drawer)
        for number, character in enumerate(CHARACTERS[part], 1)
        for drawer in range(1, 21)
    }


def zip_bytes(files: dict[str, bytes]) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def write_zips(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in CHARACTERS:
        (folder / f"{part}.zip").write_bytes(zip_bytes(make_files(part)))


def write_folders(folder: Path) -> None:
    for part in CHARACTERS:
        for name, content in make_files(part).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
