"""Inputs of a network: one tensor, or several by the name of the field, handled alike."""

from collections.abc import Callable, Iterator

from torch import Tensor

Inputs = Tensor | dict[str, Tensor]


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


def to_dtype(tensor: Tensor, dtype: object) -> Tensor:
    """Convert floats; labels, ids and masks stay what they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor  # type: ignore[call-overload]
