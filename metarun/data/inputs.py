"""The named fields of an example, each with a shape and a kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Kind = Literal["bytes", "floats", "ids", "mask"]
KIND_OF: Mapping[str, Kind] = {"uint8": "bytes", "float32": "floats", "int32": "ids", "bool": "mask"}
ONLY = "x"  # the name of a single field


@dataclass(frozen=True)
class InputSpec:
    """One field of an example.

    Args:
        shape: in one example; channels first for a picture, () for a single number.
        dtype: as stored: "uint8", "float32", "int32" or "bool".
        kind: "bytes" k mean k / 255, "floats" are unchanged, "ids" are indices of an embedding, and a "mask" is true at
            the positions that exist if examples differ in length.
        size: how many different ids there are, from 0 on; None: not known, or the kind is not "ids".
    """

    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    size: int | None = None


assert set(KIND_OF.values()) == set(get_args(Kind))


def input_specs(dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, InputSpec]:
    """Return the fields of examples by name: those of a structured dtype, else `ONLY`.

    Args:
        dtype: of the array of examples.
        shape: of one example in it; () if the dtype is structured.

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
