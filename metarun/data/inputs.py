"""What one example of a data set consists of: named fields, each with a shape and a kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Kind = Literal["bytes", "floats", "ids", "mask"]
KIND_OF: Mapping[str, Kind] = {"uint8": "bytes", "float32": "floats", "int32": "ids", "bool": "mask"}
ONLY = "x"  # the field of examples that have one


@dataclass(frozen=True)
class InputSpec:
    """One field of an example.

    Args:
        shape: of one example's field; channels first in a picture, () for a single number.
        dtype: as it is stored: "uint8", "float32", "int32" or "bool".
        kind: "bytes" k stand for k / 255, "floats" are taken as they are, "ids" are indices of an embedding, and a
            "mask" says which positions are there, where examples differ in length.
    """

    shape: tuple[int, ...]
    dtype: str
    kind: Kind


assert set(KIND_OF.values()) == set(get_args(Kind))


def input_specs(dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, InputSpec]:
    """Return the fields of examples by name: of a structured dtype its own, else `ONLY`.

    Args:
        dtype: of the array of examples.
        shape: of one example in it; () where the dtype is structured.

    Raises:
        KeyError: a field's dtype is not one of `KIND_OF`.
    """
    if dtype.fields is None:
        return {ONLY: InputSpec(shape, dtype.name, KIND_OF[dtype.name])}
    fields = {name: field[0] for name, field in dtype.fields.items()}
    return {
        name: InputSpec((*shape, *field.shape), field.base.name, KIND_OF[field.base.name])
        for name, field in fields.items()
    }
