"""Check the arrays of a new data set, which may come from a user's code."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metarun.data.inputs import KIND_OF
from metarun.errors import UserError, counted


def check_examples(where: str, values: Any, offsets: Any, class_names: Any) -> None:
    """Check the arrays of one split.

    Args:
        where: its name in messages, such as "split 'train' of omniglot".
        values: see `Examples`.
        offsets: see `Examples`.
        class_names: see `Examples`.

    Raises:
        UserError: one of them has the wrong type or shape, or a class is empty.
    """
    if not isinstance(values, np.ndarray):
        raise UserError(f"{where} is a {type(values).__name__} but examples must be a numpy array", "convert them.")
    fields = values.dtype.fields or {"x": (values.dtype, 0)}
    if unknown := [field[0].base for field in fields.values() if field[0].base.name not in KIND_OF]:
        raise UserError(
            f"{where} has dtype {unknown[0]} but examples must be uint8 (0 to 255) or float32, the same in all splits, "
            "or int32 ids and bool masks",
            "convert them.",
        )
    if (values.ndim < 2 and values.dtype.fields is None) or 0 in values.shape[1:]:
        raise UserError(
            f"{where} is an array of shape {values.shape} but it must have one row of at least one number per example",
            "reshape it to (examples, numbers) or (examples, channels, height, width).",
        )
    _check_offsets(where, len(values), offsets, class_names)


def _check_offsets(where: str, examples: int, offsets: Any, class_names: Any) -> None:
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise UserError(
            f"{where} has class names of type {type(class_names).__name__} but they must be a tuple of strings",
            "convert them.",
        )
    if wrong := [name for name in class_names if not isinstance(name, str)]:
        raise UserError(f"{where} has a class named {wrong[0]!r} but names must be strings", "convert it by str().")
    if len(set(class_names)) < len(class_names):
        duplicate = next(name for name in class_names if class_names.count(name) > 1)
        raise UserError(f"{where} has two classes named '{duplicate}'", "rename one.")
    if not isinstance(offsets, np.ndarray) or offsets.dtype != np.int64 or offsets.ndim != 1:
        kind = offsets.dtype if isinstance(offsets, np.ndarray) else type(offsets).__name__
        raise UserError(
            f"{where} has offsets of type {kind} but they must be a one-dimensional array of int64", "convert them."
        )
    if len(offsets) != len(class_names) + 1 or offsets[0] != 0 or offsets[-1] != examples:
        raise UserError(
            f"the offsets of {where} do not match its {counted(len(class_names), 'class')} and "
            f"{counted(examples, 'example')}",
            "provide one more than there are classes, from 0 to the number of examples.",
        )
    sizes = np.diff(offsets)
    if (sizes < 0).any():
        raise UserError(f"the offsets of {where} must increase from class to class", "fix them.")
    if (sizes == 0).any():
        raise UserError(f"class '{class_names[int(sizes.argmin())]}' of {where} has no examples", "remove it.")


def check_finite(where: str, pieces: Iterator[Any], offsets: Any, class_names: Sequence[str]) -> None:
    """Check the float32 fields of examples, piece by piece."""
    first = 0
    for piece in pieces:
        for field in _float_fields(piece):
            if not math.isfinite(float(field.sum(dtype=np.float64))):  # in float64 no sum of float32 overflows
                row = first + int((~np.isfinite(field.reshape(len(field), -1)).all(1)).argmax())
                name = class_names[int(np.searchsorted(offsets, row, side="right")) - 1]
                raise UserError(
                    f"class '{name}' of {where} has an example with a number that is not finite", "fix or remove it."
                )
        first += len(piece)


def check_ids(where: str, pieces: Iterator[Any], sizes: Mapping[str, int]) -> None:
    """Check that the ids of each field in `sizes` are from 0 to below its size."""
    for piece in pieces if sizes else ():
        for name, size in sizes.items():
            ids = piece if piece.dtype.fields is None else piece[name]
            if ids.min() < 0 or ids.max() >= size:
                wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
                raise UserError(
                    f"{where} has the id {wrong} in '{name}' but ids are 0 to {size - 1}", "correct its size or the id."
                )


def _float_fields(piece: Any) -> Iterator[Any]:
    if piece.dtype.fields is None:
        yield piece
        return
    for name, field in piece.dtype.fields.items():
        if field[0].base == np.float32:
            yield piece[name]
