"""What examples must be, checked once where a data set is made: a class of a user's own may get anything wrong."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from metarun.data.inputs import KIND_OF
from metarun.errors import UserError, counted


def check_examples(where: str, values: Any, offsets: Any, class_names: Any) -> None:
    """Check the arrays of one split.

    Args:
        where: what messages call it, such as "split 'train' of omniglot".
        values: see `Examples`, as are the two below.
        offsets: of the classes.
        class_names: of the classes.

    Raises:
        UserError: one of them is of another type or shape than is said there, or a class is empty.
    """
    if not isinstance(values, np.ndarray):
        raise UserError(f"{where} holds a {type(values).__name__} but examples are a numpy array", "convert them.")
    fields = values.dtype.fields or {"x": (values.dtype, 0)}
    if unknown := [field[0].base for field in fields.values() if field[0].base.name not in KIND_OF]:
        raise UserError(
            f"{where} holds {unknown[0]} but examples are uint8, 0 to 255, or float32, the same in all splits, or "
            "int32 ids and bool masks",
            "convert them.",
        )
    if (values.ndim < 2 and values.dtype.fields is None) or 0 in values.shape[1:]:
        raise UserError(
            f"{where} holds an array of shape {values.shape} but it has one row an example, of one number at least: "
            "(examples, numbers), or (examples, channels, height, width)."
        )
    _check_offsets(where, len(values), offsets, class_names)


def _check_offsets(where: str, examples: int, offsets: Any, class_names: Any) -> None:
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise UserError(f"{where} has class names of type {type(class_names).__name__} but they are a tuple of texts.")
    if wrong := [name for name in class_names if not isinstance(name, str)]:
        raise UserError(
            f"{where} has a class called {wrong[0]!r} but a name is a text", "make it one, such as by str()."
        )
    if len(set(class_names)) < len(class_names):
        twice = next(name for name in class_names if class_names.count(name) > 1)
        raise UserError(f"{where} has two classes called '{twice}'", "give each a name of its own.")
    if not isinstance(offsets, np.ndarray) or offsets.dtype != np.int64 or offsets.ndim != 1:
        told = offsets.dtype if isinstance(offsets, np.ndarray) else type(offsets).__name__
        raise UserError(f"{where} has offsets of type {told} but they are one row of int64", "convert them.")
    if len(offsets) != len(class_names) + 1 or offsets[0] != 0 or offsets[-1] != examples:
        raise UserError(
            f"the offsets of {where} do not fit its {counted(len(class_names), 'class')} and "
            f"{counted(examples, 'example')}",
            "let them go from 0 to the number of examples, one more than there are classes.",
        )
    sizes = np.diff(offsets)
    if (sizes < 0).any():
        raise UserError(f"the offsets of {where} fall, but class after class they rise", "correct them.")
    if (sizes == 0).any():
        raise UserError(f"class '{class_names[int(sizes.argmin())]}' of {where} has no examples", "leave it out.")


def check_finite(where: str, pieces: Iterator[Any], offsets: Any, class_names: Sequence[str]) -> None:
    """Check the float32 fields of examples, piece by piece.

    Raises:
        UserError: a number of one is NaN or infinite; the message names its class.
    """
    first = 0
    for piece in pieces:
        for field in _float_fields(piece):
            if not math.isfinite(float(field.sum(dtype=np.float64))):  # in float64 no sum of float32 overflows
                row = first + int((~np.isfinite(field.reshape(len(field), -1)).all(1)).argmax())
                name = class_names[int(np.searchsorted(offsets, row, side="right")) - 1]
                raise UserError(
                    f"class '{name}' of {where} has an example with a number that is not finite", "correct or drop it."
                )
        first += len(piece)


def _float_fields(piece: Any) -> Iterator[Any]:
    if piece.dtype.fields is None:
        yield piece
        return
    for name, field in piece.dtype.fields.items():
        if field[0].base == np.float32:
            yield piece[name]
