"""Published sets of pictures as they were released, each shown as files `<split>/<group>/<class>/<picture>`."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.files.archive import ReadFile
from metarun.data.files.tar_archive import open_tree
from metarun.data.pictures.image_decoding import open_picture
from metarun.data.pictures.picture_files import SUFFIXES
from metarun.data.pictures.plain_pickle import load_plain, wrong_file
from metarun.data.pictures.tiered_pickles import open_pickles
from metarun.errors import UserError

Files = tuple[list[str], ReadFile]
Open = Callable[[Path, int], AbstractContextManager[Files]]

_CIFAR = Path(__file__).with_name("cifar100_splits.json")
_SIDE = 32  # pixels of CIFAR-100
_CUB_CLASSES = 200
_CUB_SPLITS = ("train", "val", "train", "test")  # of the first four classes, then again


def cifar100(split: str) -> Open:
    """Return what opens CIFAR-100 by the classes of a split: "cifar_fs" or "fc100".

    Either the authors' `cifar-100-python` (Krizhevsky 2009), as a folder or a tar, or one folder of pictures per class
    as in the `cifar100.zip` of Bertinetto et al. 2019. The folders are `train/fish/ray`, with the superclass.
    """

    @contextmanager
    def open_cifar(root: Path, max_bytes: int) -> Iterator[Files]:
        folders = _cifar_folders(split)
        with open_tree(root, max_bytes) as (names, read):
            found = {PurePosixPath(name).name: name for name in names}
            if {"train", "test", "meta"} <= found.keys():
                pictures = _cifar_pictures(root, {part: read(found[part]) for part in ("train", "test", "meta")})
                files = {f"{folders[c]}/{name}": picture for c, name, picture in pictures if c in folders}
                _check_classes(root, files, folders)
                yield [*files], lambda name, first=None, /: _as_ppm(files[name])[:first]
            else:
                yield _by_class_folder(root, names, read, folders)

    return open_cifar


def _cifar_folders(split: str) -> dict[str, str]:
    """Return the folder of each class: {"ray": "train/fish/ray"}."""
    lists = json.loads(_CIFAR.read_text())
    superclass_of = {c: group for group, classes in lists["superclasses"].items() for c in classes}
    return {
        c: f"{which}/{superclass_of[c]}/{c}"
        for which, listed in lists[split].items()
        for c in superclass_of
        if c in listed or superclass_of[c] in listed
    }


def _cifar_pictures(root: Path, parts: Mapping[str, bytes]) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Yield the class, the name and the pixels (3, 32, 32) of each picture of `cifar-100-python`."""
    meta = _pickled(root / "meta", parts["meta"], "fine_label_names")
    for part in ("train", "test"):
        held = _pickled(root / part, parts[part], "data", "fine_labels")
        pixels, labels = held["data"], held["fine_labels"]
        if getattr(pixels, "dtype", None) != np.uint8 or pixels.shape != (len(labels), 3 * _SIDE**2):
            raise wrong_file(root / part, f"its data are not {len(labels)} rows of {3 * _SIDE**2} bytes")
        for number, label in enumerate(labels):
            if type(label) is not int or not 0 <= label < len(meta["fine_label_names"]):
                raise wrong_file(root / part, f"row {number} has the label {label!r}")
            picture = pixels[number].reshape(3, _SIDE, _SIDE)
            yield str(meta["fine_label_names"][label]), f"{part}{number:05}.ppm", picture


def _as_ppm(pixels: NDArray[np.uint8]) -> bytes:
    header = f"P6 {pixels.shape[2]} {pixels.shape[1]} 255\n".encode()
    return header + pixels.transpose(1, 2, 0).tobytes()


def cub(boxes: bool) -> Open:
    """Return what opens CUB-200-2011 (Wah et al. 2011), a folder, zip or tar, by the split of Chen et al. 2019.

    In the order of classes, every second is meta-train, and the others are meta-val and meta-test in turns. The folders
    are `train/001.Black_footed_Albatross`.

    Args:
        boxes: cut the bird's bounding box out of each picture.
    """

    @contextmanager
    def open_cub(root: Path, max_bytes: int) -> Iterator[Files]:
        with open_tree(root, max_bytes) as (names, read):
            folders = {PurePosixPath(name).parent.name for name in names}
            numbered = {folder: folder[:3] for folder in folders if folder[:3].isdecimal() and folder[3:4] == "."}
            if len(set(numbered.values())) < len(numbered) or len(numbered) != _CUB_CLASSES:
                raise UserError(
                    f"{root} has {len(numbered)} folders such as 001.Black_footed_Albatross but CUB has {_CUB_CLASSES}",
                    "complete your copy, or correct `data.root`.",
                )
            places = {f: f"{_CUB_SPLITS[(int(number) - 1) % 4]}/{f}" for f, number in numbered.items()}
            pictures = [name for name in names if name.lower().endswith((".jpg", ".jpeg"))]
            files, read_whole = _by_class_folder(root, pictures, read, places)
            if not boxes:
                yield files, read_whole
                return
            box_of = _boxes(root, names, read)

            def read_box(name: str, first: int | None = None, /) -> bytes:
                return _cut(f"{root}: {name}", read_whole(name), box_of.get(name.partition("/")[2]))[:first]

            yield files, read_box

    return open_cub


def _boxes(root: Path, names: Sequence[str], read: ReadFile) -> dict[str, tuple[float, ...]]:
    """Return the bounding box (left, top, right, bottom) of each picture by "class folder/file name"."""
    by_number: list[dict[str, list[str]]] = []
    for wanted in ("images.txt", "bounding_boxes.txt"):
        found = [name for name in names if PurePosixPath(name).name == wanted]
        if not found:
            raise UserError(f"{root} has no {wanted}", "complete your copy, or set `data.boxes=false`.")
        lines = read(found[0]).decode(errors="replace").splitlines()
        by_number.append({line.split()[0]: line.split()[1:] for line in lines if line.strip()})
    paths, boxes = by_number
    try:
        sizes = {number: [float(value) for value in box] for number, box in boxes.items()}
        return {paths[n][0]: (x, y, x + width, y + height) for n, (x, y, width, height) in sizes.items()}
    except (ValueError, LookupError) as error:
        raise wrong_file(root, f"bounding_boxes.txt does not fit images.txt: {error}") from error


def _cut(where: str, content: bytes, box: tuple[float, ...] | None) -> bytes:
    if box is None:
        raise UserError(f"{where} has no bounding box", "complete your copy, or set `data.boxes=false`.")
    picture = open_picture(where, content, "RGB")
    left, top, right, bottom = map(round, box)
    right, bottom = min(right, picture.width), min(bottom, picture.height)
    if not (0 <= left < right and 0 <= top < bottom):
        raise UserError(f"{where} has a bounding box outside the picture", "download it again.")
    cut = io.BytesIO()
    picture.crop((left, top, right, bottom)).save(cut, "PPM")
    return cut.getvalue()


def _by_class_folder(root: Path, names: Sequence[str], read: ReadFile, folders: Mapping[str, str]) -> Files:
    """Return the pictures in the folders of known classes, whatever is above these."""
    files = {
        f"{folders[path.parent.name]}/{path.name}": name
        for name, path in ((name, PurePosixPath(name)) for name in sorted(names))
        if path.parent.name in folders and path.suffix.lower() in SUFFIXES and not name.startswith("__MACOSX")
    }
    _check_classes(root, files, folders)
    return [*files], lambda name, first=None, /: read(files[name], first)


def _check_classes(root: Path, files: Iterable[str], folders: Mapping[str, str]) -> None:
    there = {file.rpartition("/")[0] for file in files}
    if absent := sorted(c for c, folder in folders.items() if folder not in there):
        raise UserError(
            f"{root} has no pictures of {len(absent)} of {len(folders)} classes, such as {absent[0]}",
            "complete your copy, or correct `data.root`.",
        )


@cache
def tiered_folders() -> dict[str, str]:
    """Return the folder of each synset of tieredImageNet, which has that of its category:
    {"n01530575": "train/n01524359/n01530575"}."""
    lists = json.loads(Path(__file__).with_name("tiered_imagenet_split.json").read_text())
    return {
        synset: f"{which}/{category}/{synset}"
        for which, categories in lists.items()
        for category, synsets in categories.items()
        for synset in synsets
    }


@contextmanager
def tiered_imagenet(root: Path, max_bytes: int) -> Iterator[Files]:
    """Open tieredImageNet (Ren et al. 2018): the release's pickles in a folder, or a folder per ILSVRC-2012 synset."""
    with open_tree(root, max_bytes) as (names, read):
        if any(name.endswith("train_images_png.pkl") for name in names):
            with open_pickles(root, names) as found:
                yield found
        else:
            yield _by_class_folder(root, names, read, tiered_folders())


def _pickled(where: Path, content: bytes, *keys: str) -> dict[str, Any]:
    try:
        held = load_plain(content)
    except ValueError as error:
        raise wrong_file(where, str(error)) from error
    if not isinstance(held, dict) or (missing := [key for key in keys if key not in held]):
        raise wrong_file(where, "it is not a dict" if not isinstance(held, dict) else f"it has no {missing[0]}")
    return held
