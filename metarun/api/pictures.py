"""Read a user's pictures as inputs of a run: decoded and scaled like its training data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.api.run import Run
from metarun.data.archive import open_files
from metarun.data.image_decoding import decode
from metarun.data.picture_files import SHOWN_SUFFIXES, find_pictures
from metarun.errors import UserError
from metarun.system.paths import is_file, is_folder

_MAX_SIZE = 1 << 28  # bytes of one picture
_LIGHT_ON_DARK = ("metarun.data.Omniglot", "metarun.data.Glyphs")  # ink on paper is inverted for these


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder or zip.

    Args:
        files: their paths below it.
        labels: the folder of each; "" at the top.
        values: (n, channels, height, width) uint8 of those that can be decoded.
        errors: why each of `files` cannot be decoded, or "".
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    values: NDArray[np.uint8]
    errors: tuple[str, ...]

    @property
    def decoded(self) -> list[int]:
        """The index in `files` of each row of `values`."""
        return [i for i, error in enumerate(self.errors) if not error]


def read_pictures(run: Run, path: Path, invert: bool = False) -> Pictures:
    """Read the pictures of a folder, a zip or a single file.

    Args:
        run: the run that takes them as inputs.
        path: of the folder, zip or file.
        invert: swap light and dark, in addition to the settings of the run's data.

    Raises:
        UserError: the run does not take pictures, or there are none.
    """
    decoder = _decoder(run, invert)
    if is_file(path) and path.suffix.lower() != ".zip":
        return _decode_all([path.name], lambda _: path.read_bytes(), decoder)
    if not (is_file(path) or is_folder(path)):
        raise UserError(f"{path} does not exist", "name a folder, a zip or a picture.")
    with open_files(path, _MAX_SIZE) as (names, read):
        files = find_pictures(names, read)
        if not files.pictures:
            raise UserError(f"{path} contains no pictures", f"add some ({SHOWN_SUFFIXES}).")
        return _decode_all(list(files.pictures), read, decoder)


def labelled(pictures: Pictures, path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the pictures and classes of a support set, which has one folder per class.

    Raises:
        UserError: a picture cannot be decoded, or is in no folder.
    """
    for file, label, error in zip(pictures.files, pictures.labels, pictures.errors, strict=True):
        if error:
            raise UserError(error, "fix or remove it.")
        if not label:
            raise UserError(f"{file} in {path} is not in the folder of a class", "put each class into a folder.")
    return pictures.values, list(pictures.labels)


def _decode_all(names: list[str], read: Callable[[str], bytes], decoder: Callable[[str, bytes], Any]) -> Pictures:
    values: list[NDArray[np.uint8]] = []
    errors: list[str] = []
    for name in names:
        try:
            values.append(decoder(name, read(name)))
            errors.append("")
        except UserError as error:
            errors.append(error.problem)
    stacked = np.stack(values) if values else np.empty((0, 1, 1, 1), np.uint8)
    return Pictures(tuple(names), tuple(name.rpartition("/")[0] for name in names), stacked, tuple(errors))


def _decoder(run: Run, invert: bool) -> Callable[[str, bytes], NDArray[np.uint8]]:
    shape = tuple(run.result["example_shape"])
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise UserError(
            f"run {run.id} takes examples of shape {list(shape)}, not pictures",
            "use `metarun.load(...).adapt(x, y)` from Python.",
        )
    channels, size, _ = shape
    node = run.config["data"]
    inverted = bool(node.get("invert", False)) ^ (node["_target_"] in _LIGHT_ON_DARK) ^ invert

    def decoder(name: str, content: bytes) -> NDArray[np.uint8]:
        picture = decode(name, content, size, channels)
        return 255 - picture if inverted else picture

    return decoder
