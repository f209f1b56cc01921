"""The pickles of tieredImageNet's release: found and read by position, without unpickling gigabytes."""

import pickletools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from metarun.data.examples import SPLITS, Split
from metarun.data.files.archive import ReadFile
from metarun.data.pictures.plain_pickle import load_plain, wrong_file
from metarun.errors import UserError
from metarun.system.paths import is_folder

_PNG = (b"\x89PNG\r\n\x1a\n", "\x89PNG\r\n\x1a\n")  # how a PNG begins; bytes of Python 2 are shown as text
# The opcodes of a string of bytes, with the bytes of its length.
_LENGTHS = {"BINSTRING": 4, "SHORT_BINSTRING": 1, "BINBYTES": 4, "SHORT_BINBYTES": 1, "BINBYTES8": 8}
_LARGEST_LABELS = 1 << 28  # bytes


@contextmanager
def open_pickles(root: Path, names: Sequence[str]) -> Iterator[tuple[list[str], ReadFile]]:
    """Yield the pictures as `<split>/<category>/<class>/<number>.png`, and a function that reads one.

    Args:
        root: a folder.
        names: of all files in it; of each split two are wanted, such as `train_images_png.pkl` and `train_labels.pkl`.

    Raises:
        UserError: it is not a folder, or a file is missing, damaged or does not fit the others.
    """
    if not is_folder(root):
        raise UserError(f"{root} holds pickles of gigabytes", "unpack it, and set `data.root` to the folder.")
    numbers: dict[str, tuple[Split, int]] = {}
    places = {}
    for split in SPLITS:
        files = {kind: _file(root, names, f"{split}_{kind}.pkl") for kind in ("images_png", "labels")}
        folders = _folders(files["labels"])
        for number, folder in enumerate(folders):
            numbers[f"{split}/{folder}/{number:06}.png"] = split, number
        places[split] = cache(partial(_positions, files["images_png"], len(folders)))

    def read(name: str, first: int | None = None, /) -> bytes:
        split, number = numbers[name]
        start, length = places[split]()[number]
        with _file(root, names, f"{split}_images_png.pkl").open("rb") as file:
            file.seek(start)
            return file.read(length if first is None else min(first, length))

    yield [*numbers], read


def _file(root: Path, names: Sequence[str], wanted: str) -> Path:
    found = next((name for name in names if name.rpartition("/")[2] == wanted), None)
    if found is None:
        raise UserError(f"{root} has no {wanted}", "complete your copy of tieredImageNet.")
    return root / found


def _folders(path: Path) -> list[str]:
    """Return "category/class" of each picture, in the order of the pictures."""
    if path.stat().st_size > _LARGEST_LABELS:
        raise wrong_file(path, "it is too large")
    try:
        held = load_plain(path.read_bytes())
        kinds = ("specific", "general")
        classes, groups = ([_as_folder(name) for name in held[f"label_{kind}_str"]] for kind in kinds)
        labels = list(zip(*(np.asarray(held[f"label_{kind}"]).tolist() for kind in kinds), strict=True))
        if any(own < 0 or group < 0 for own, group in labels):
            raise ValueError("it has a label below 0")
        folders = [f"{groups[group]}/{classes[own]}" for own, group in labels]
    except (ValueError, LookupError, TypeError) as error:
        raise wrong_file(path, f"{type(error).__name__}: {error}") from error
    if len(set(folders)) < len(set(labels)):
        twice = Counter(f"{groups[group]}/{classes[own]}" for own, group in set(labels)).most_common(1)[0][0]
        raise wrong_file(path, f"two classes are called {twice}")
    return folders


def _as_folder(name: Any) -> str:
    return str(name).replace("/", "_").strip(". ") or "_"


def _positions(path: Path, count: int) -> list[tuple[int, int]]:
    """Return where each PNG of a pickled list of arrays begins, and its length."""
    found = []
    try:
        with path.open("rb") as file:
            for opcode, value, position in pickletools.genops(file):
                if opcode.name in _LENGTHS and isinstance(value, str | bytes) and value[:8] in _PNG:
                    found.append(((position or 0) + 1 + _LENGTHS[opcode.name], len(value)))
    except Exception as error:  # pickletools raises several types on damaged bytes
        raise wrong_file(path, str(error)) from error
    if len(found) != count:
        raise wrong_file(path, f"it has {len(found):,} pictures but {count:,} labels")
    return found
