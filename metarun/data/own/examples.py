"""A user's own examples, read as inputs of a run: decoded, scaled and featurised as in training."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.data.encoders import Encoder, PictureEncoder, RowEncoder, SoundEncoder, TextEncoder
from metarun.data.own.found import Examples
from metarun.errors import UserError, counted
from metarun.system.paths import is_file, is_folder
from metarun.system.progress import OnProgress, ignore_progress


def read_examples(
    encoder: Encoder, path: Path, invert: bool = False, on_progress: OnProgress = ignore_progress
) -> Examples:
    """Read pictures, recordings, texts or table rows.

    Pictures, recordings and texts are in a folder or a zip with one folder per class, in a file of their own, or in a
    table: with the columns `filename` and, if they have classes, `label`; or with the columns of text and class that
    the run was trained with. Rows are in a table with the columns that the run was trained with.

    Args:
        encoder: of the run.
        path: of the folder, zip, file or table.
        invert: swap light and dark of pictures.
        on_progress: called after each file.

    Raises:
        UserError: there is no such file, or nothing in it is an example for the run.
    """
    if not (is_file(path) or is_folder(path)):
        raise UserError(f"{path} does not exist", f"name a folder, a zip or a file of {encoder.noun}s.")
    if invert and not isinstance(encoder, PictureEncoder):
        raise UserError(f"--invert is for pictures but the run takes {encoder.noun}s", "omit it.")
    if isinstance(encoder, RowEncoder):
        from metarun.data.own.rows import read_rows  # pandas: half a second

        return read_rows(encoder, path)
    if isinstance(encoder, TextEncoder):
        from metarun.data.own.texts import read_own_texts

        return read_own_texts(encoder, path)
    assert isinstance(encoder, PictureEncoder | SoundEncoder)
    from metarun.data.own.files import read_files

    return read_files(encoder, path, invert, on_progress)


def support_of(examples: Examples, path: Path) -> tuple[NDArray[Any], Any]:
    """Return the inputs and the classes of a support set or, in regression, its inputs and targets.

    Raises:
        UserError: an example cannot be decoded or has no class or target, or rows are of several entities.
    """
    for each in examples.found:
        if each.error:
            raise UserError(each.error, "fix or remove it.")
    if examples.targets is not None:
        return examples.values, _targets_of(examples, path)
    for each in examples.found:
        if each.label is None:
            raise UserError(
                f"{each.name} in {path} is not in a class folder",
                "put each class into a folder, or name the classes in a table.",
            )
    return examples.values, examples.labels


def _targets_of(examples: Examples, path: Path) -> NDArray[np.float32]:
    assert examples.targets is not None
    unknown = np.isnan(examples.targets).any(1)
    if unknown.any():
        raise UserError(f"{examples.found[int(unknown.argmax())].name} has no target", "fill or remove it.")
    if len(entities := sorted({label for label in examples.labels if label is not None})) > 1:
        raise UserError(
            f"{path} has rows of {counted(len(entities), 'entity')}, such as '{entities[0]}' and '{entities[1]}', but "
            "a run adapts to one entity at a time",
            "keep the rows of one entity.",
        )
    return examples.targets
