"""Check a support set before a method is adapted to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarun.api.model import Model
from metarun.errors import UserError, counted


def as_examples(x: Any) -> NDArray[Any]:
    """Return examples as one array; a dict of fields, such as `load_tasks` has, becomes a structured one."""
    if not isinstance(x, Mapping):
        return np.asarray(x)
    fields = {name: np.asarray(values) for name, values in x.items()}
    lengths = {len(values) for values in fields.values()}
    if len(lengths) != 1:
        raise UserError(f"the fields of the examples have the lengths {sorted(lengths)}", "give all the same length.")
    examples = np.empty(lengths.pop(), [(name, values.dtype, values.shape[1:]) for name, values in fields.items()])
    for name, values in fields.items():
        examples[name] = values
    return examples


def check_shape(model: Model, x: NDArray[Any]) -> None:
    """Raise a UserError if examples are none, or not like those that a run was trained on."""
    fields: Mapping[str, NDArray[Any]] = {name: x[name] for name in x.dtype.names} if x.dtype.names else {"x": x}
    if not len(x):
        raise UserError("there are no examples", "add some.")
    inputs = model.raw_inputs
    if len(inputs) > 1 and {*fields} != {*inputs}:
        raise UserError(
            f"the examples have the fields {', '.join(fields)} but run {model.id} takes {', '.join(inputs)}",
            "use these names, in a dict or a structured array.",
        )
    for (name, values), spec in zip(sorted(fields.items()), (spec for _, spec in sorted(inputs.items())), strict=False):
        shape = tuple(spec["shape"])
        if values.shape[1:] != shape:
            what = f"'{name}' of the examples has" if len(inputs) > 1 else "the examples have"
            raise UserError(
                f"{what} shape {values.shape} but run {model.id} takes (n, {', '.join(map(str, shape))})",
                "resize them.",
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError("an example has a number that is not finite", "fix or remove it.")


def check_classes(model: Model, sizes: Sequence[int]) -> None:
    """Raise a UserError if a method cannot be adapted to classes of these numbers of examples."""
    method, name = model.algorithm, model.result["algo"]
    if len(sizes) < 2:
        raise UserError("the support set has one class but at least 2 are needed", "add examples of another.")
    if method.outputs is not None and method.outputs != len(sizes):
        raise UserError(
            f"the support set has {len(sizes)} classes but run {model.id} ({name}) has a head for {method.outputs}",
            "use a run of a method without a fixed head, such as protonet, or one trained with "
            f"`task.way={len(sizes)}`.",
        )
    if method.needs_equal_shots and len(set(sizes)) > 1:
        raise UserError(
            f"{name} needs the same number of examples of each class but they have {min(sizes)} to {max(sizes)}",
            "remove some, or use a run of another method, such as protonet or maml.",
        )


def check_targets(model: Model, targets: NDArray[np.float32]) -> None:
    """Raise a UserError if the targets of a regression are not as many numbers as a run predicts."""
    outputs = model.inputs.source["outputs"]
    if targets.ndim != 2 or targets.shape[1] != outputs:
        raise UserError(
            f"the targets have shape {targets.shape} but run {model.id} predicts {counted(outputs, 'number')}",
            f"pass an array (n, {outputs}).",
        )
    if not np.isfinite(targets).all():
        raise UserError("a target is not finite", "fix or remove it.")
