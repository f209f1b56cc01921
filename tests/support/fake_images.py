"""Small pictures in the supported layouts."""

import json
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = {"train": ("ant", "bee", "cat"), "val": ("dog", "elk"), "test": ("fox", "gnu")}


def make_picture(number: int, width: int = 12, height: int = 12, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """Return noise seeded by `number`, so that no two pictures are equal."""
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


def make_files(classes: Iterable[str], count: int = 4, size: int = 12) -> dict[str, bytes]:
    """Return {path: content} with `count` pictures per class."""
    return {
        f"{name}/{number}.png": make_picture(hash_of(f"{name}{number}"), size, size)
        for name in classes
        for number in range(count)
    }


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode(), "big")


def split_folders(count: int = 4, size: int = 12) -> dict[str, bytes]:
    """Return files in the layout <train|val|test>/<class>/*."""
    return {
        f"{split}/{file}": content
        for split, classes in SPLITS.items()
        for file, content in make_files(classes, count, size).items()
    }


def class_folders(count: int = 4) -> dict[str, bytes]:
    """Return files in the layout <class>/* with a split file."""
    return {
        **{file: content for classes in SPLITS.values() for file, content in make_files(classes, count).items()},
        "split.json": json.dumps(SPLITS).encode(),
    }


def tables(count: int = 4) -> dict[str, bytes]:
    """Return files in the layout images/* with train.csv, val.csv and test.csv."""
    files = {}
    for split, classes in SPLITS.items():
        pictures = make_files(classes, count)
        files |= {f"images/{file.replace('/', '')}": content for file, content in pictures.items()}
        rows = [f"{file.replace('/', '')},{file.partition('/')[0]}" for file in pictures]
        files[f"{split}.csv"] = "\n".join(["filename,label", *rows]).encode()
    return files


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_pictures(folder: Path, first: int = 0, count: int = 4) -> None:
    """Write 84x84 colour pictures, five classes per split."""
    colours = ("blue", "green", "grey", "pink", "red")
    classes = {"train": colours, "val": [f"light {c}" for c in colours], "test": [f"dark {c}" for c in colours]}
    files = {
        f"{split}/{name}/{number}.png": make_picture(hash_of(name) + first + number, 84, 84)
        for split, names in classes.items()
        for name in names
        for number in range(count)
    }
    write_folder(folder, files)
