"""Pictures and recordings: in a folder, a zip, a file of their own, or named in a table."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from metarun.data.encoders import PictureEncoder, SoundEncoder
from metarun.data.files.archive import ReadFile, open_files
from metarun.data.own.found import Examples, Found
from metarun.data.pictures.picture_files import SHOWN_SUFFIXES, count_by_suffix, find_pictures, is_ignored
from metarun.data.sounds.sound_decoding import SUFFIXES
from metarun.errors import UserError, did_you_mean
from metarun.system.paths import is_folder
from metarun.system.progress import OnProgress

_LARGEST = 1 << 30  # bytes of a file
_TABLES = (".csv", ".tsv", ".parquet", ".xlsx")
_COLUMN_NAMES = ("filename", "file")

FileEncoder = PictureEncoder | SoundEncoder


def read_files(encoder: FileEncoder, path: Path, invert: bool, on_progress: OnProgress) -> Examples:
    """See `read_examples`."""
    if path.suffix.lower() in _TABLES:
        return _read_table(encoder, path, invert, on_progress)
    if not is_folder(path) and path.suffix.lower() != ".zip":
        with open_files(path.parent, _LARGEST) as (_, read):
            return encode_files(encoder, [(path.name, None)], read, invert, on_progress)
    with open_files(path, _LARGEST) as (names, read):
        files, others = _find(encoder, names, read)
        if not files:
            shown = SHOWN_SUFFIXES if isinstance(encoder, PictureEncoder) else ", ".join(SUFFIXES)
            raise UserError(f"{path} contains no {encoder.noun}s", f"add some ({shown}).")
        labelled = [(file, file.rpartition("/")[0] or None) for file in files]
        return encode_files(encoder, labelled, read, invert, on_progress, others)


def _find(encoder: FileEncoder, names: Sequence[str], read: ReadFile) -> tuple[Sequence[str], Sequence[str]]:
    """Return the files to read, and the others."""
    if isinstance(encoder, PictureEncoder):
        found = find_pictures(names, read)
        return found.pictures, found.others
    shown = [name for name in sorted(names) if not is_ignored(name, SUFFIXES)]
    sounds = [name for name in shown if PurePosixPath(name).suffix.lower() in SUFFIXES]
    return sounds, [name for name in shown if name not in {*sounds}]


def _read_table(encoder: FileEncoder, path: Path, invert: bool, on_progress: OnProgress) -> Examples:
    """Read the files that a table names, relative to its folder."""
    from metarun.data.tables.table_features import class_name  # pandas: half a second
    from metarun.data.tables.table_file import check_filled, read_table

    table = read_table(path, str(path), names=[*_COLUMN_NAMES, "label"])
    column = next((name for name in _COLUMN_NAMES if name in table.columns), None)
    if column is None:
        there = ", ".join(table.columns[:20])
        near = did_you_mean("filename", table.columns)
        raise UserError(f"{path} has no column 'filename' of {encoder.noun}s", f"its columns are {there}.{near}")
    check_filled(table, path, [column], header=True)
    files = [str(file).strip().replace("\\", "/") for file in table[column]]
    labels = table["label"] if "label" in table.columns else [None] * len(files)
    labelled = [(file, class_name(label)) for file, label in zip(files, labels, strict=True)]
    with open_files(path.parent, _LARGEST) as (_, read):
        return encode_files(encoder, labelled, read, invert, on_progress)


def encode_files(
    encoder: FileEncoder,
    labelled: Sequence[tuple[str, str | None]],
    read: Callable[[str], bytes],
    invert: bool,
    on_progress: OnProgress,
    others: Sequence[str] = (),
) -> Examples:
    """Read files, each with its class.

    Args:
        encoder: of the run.
        labelled: the files, and the class of each; None: it is not known.
        read: returns a file's content.
        invert: swap light and dark of pictures.
        on_progress: called after each file.
        others: files beside them that are no examples.
    """
    values: list[Any] = []
    found: list[Found] = []
    for done, (name, label) in enumerate(labelled, 1):
        try:
            value = encoder.encode(name, read(name))
        except UserError as error:
            if "pip install" in error.remedy:  # that is not the file's fault
                raise
            found.append(Found(name, label, error.problem))
        else:
            values.append(255 - value if invert else value)
            found.append(Found(name, label))
        on_progress(done, len(labelled))
    skipped = f"skipped, because they are not {encoder.noun}s: {count_by_suffix(others)}" if others else ""
    return Examples(encoder.noun, found, np.stack(values) if values else np.empty((0, 1)), skipped=skipped)
