"""Inputs of a network: one tensor, or several by the name of the field, handled alike."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Inputs = Tensor | dict[str, Tensor]

WITHOUT_WAITING = {"cuda"}  # devices that copy from pinned memory while the host does other things


def map_inputs(function: Callable[..., Tensor], *inputs: Inputs) -> Inputs:
    """Apply a function field by field: to one tensor of each of `inputs`, which have the same fields."""
    first = inputs[0]
    if isinstance(first, Tensor):
        return function(*inputs)
    return {name: function(*(each[name] for each in inputs)) for name in first}  # type: ignore[index]


def first_field(inputs: Inputs) -> Tensor:
    """Return a tensor that has the inputs' length and device: the only one, or the first field."""
    return inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))


def rows(inputs: Inputs) -> Iterator[Inputs]:
    """Iterate over the first dimension."""
    if isinstance(inputs, Tensor):
        yield from inputs
    else:
        for row in zip(*inputs.values(), strict=True):
            yield dict(zip(inputs, row, strict=True))


def as_tensors(values: NDArray[Any], device: torch.device) -> Inputs:
    """Return stored examples on a device: of one array, or of a structured one by field."""
    if values.dtype.names is None:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)
    return {name: torch.from_numpy(np.ascontiguousarray(values[name])).to(device) for name in values.dtype.names}


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; to a GPU from pinned memory, which nothing has to wait for."""
    if device.type in WITHOUT_WAITING and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_network(stored: Inputs, device: torch.device, dtype: torch.dtype) -> Inputs:
    """Convert stored numbers to those that networks take: bytes to floats from 0 to 1, ids to int64."""

    def convert(field: Tensor) -> Tensor:
        values = to_device(field, device)
        if values.dtype == torch.uint8:
            return values.to(dtype) / 255
        return values.long() if values.dtype == torch.int32 else to_dtype(values, dtype)

    return map_inputs(convert, stored)


def to_dtype(tensor: Tensor, dtype: object) -> Tensor:
    """Convert floats; labels, ids and masks stay what they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor  # type: ignore[call-overload]
