"""Pictures of the user's as the inputs of a run: decoded and scaled as the pictures that it was trained on."""

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

_LARGEST = 1 << 28  # bytes of one picture
_LIGHT_ON_DARK = ("metarun.data.Omniglot", "metarun.data.Glyphs")  # where pictures of ink on paper are inverted


@dataclass(frozen=True)
class Pictures:
    """Pictures of a folder or zip.

    Args:
        files: names, as paths below it.
        labels: the folder that each is in; "" at the top.
        values: (n, channels, height, width) uint8, of those that could be decoded.
        errors: for each of `files` why it could not be decoded, or "".
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    values: NDArray[np.uint8]
    errors: tuple[str, ...]

    @property
    def decoded(self) -> list[int]:
        """The places in `files` of the rows of `values`."""
        return [place for place, error in enumerate(self.errors) if not error]


def read_pictures(run: Run, place: Path, invert: bool = False) -> Pictures:
    """Read the pictures of a folder, a zip or a single file.

    Args:
        run: whose inputs they are to be.
        place: where they are.
        invert: swap light and dark, in addition to what the run's data do.

    Raises:
        UserError: the run does not take pictures, or there are none.
    """
    decoder = _decoder(run, invert)
    if is_file(place) and place.suffix.lower() != ".zip":
        return _decoded([place.name], lambda _: place.read_bytes(), decoder)
    if not (is_file(place) or is_folder(place)):
        raise UserError(f"{place} does not exist", "name a folder, a zip or a picture.")
    with open_files(place, _LARGEST) as (names, read):
        files = find_pictures(names, read)
        if not files.pictures:
            raise UserError(f"{place} contains no pictures", f"add some ({SHOWN_SUFFIXES}).")
        return _decoded(list(files.pictures), read, decoder)


def labelled(pictures: Pictures, place: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the pictures and classes of a support set: one folder per class, all of which can be decoded.

    Raises:
        UserError: a picture cannot be decoded, or is in no folder.
    """
    for file, label, error in zip(pictures.files, pictures.labels, pictures.errors, strict=True):
        if error:
            raise UserError(error, "fix or remove it.")
        if not label:
            raise UserError(f"{file} in {place} is not in the folder of a class", "put each class into a folder.")
    return pictures.values, list(pictures.labels)


def _decoded(names: list[str], read: Callable[[str], bytes], decoder: Callable[[str, bytes], Any]) -> Pictures:
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
