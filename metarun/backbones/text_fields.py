"""The fields of a text of tokens: its ids, and the mask of those that are there."""

from collections.abc import Mapping

from torch import Tensor

from metarun.data.inputs import InputSpec
from metarun.errors import UserError


class TextFields:
    """Finds ids and mask among the fields of an example.

    Args:
        inputs: the fields of an example: one of ids (length,) of a known size, and at most one mask of its shape.
        backbone: what messages call the network.

    Attributes:
        size: how many ids there are.
        length: tokens of an example.

    Raises:
        UserError: there are other fields, or the size is not known.
    """

    def __init__(self, inputs: Mapping[str, InputSpec], backbone: str) -> None:
        ids = [name for name, spec in inputs.items() if spec.kind == "ids"]
        masks = [name for name, spec in inputs.items() if spec.kind == "mask"]
        fit = len(ids) == 1 and len(masks) <= 1 and len(inputs) == len(ids) + len(masks)
        if not fit or any(inputs[name].shape != inputs[ids[0]].shape for name in masks):
            fields = ", ".join(f"{name} ({spec.kind})" for name, spec in inputs.items())
            raise UserError(
                f"backbone={backbone} takes ids and a mask but an example has the fields {fields}",
                "set `data.features=tokens`, or choose another backbone.",
            )
        spec = inputs[ids[0]]
        if spec.size is None or len(spec.shape) != 1:
            raise UserError(
                f"backbone={backbone} needs a row of ids of a known number but '{ids[0]}' has the shape {spec.shape} "
                f"and the size {spec.size}",
                f"give the ClassDataset `id_sizes={{'{ids[0]}': …}}`.",
            )
        self.size, self.length = spec.size, spec.shape[0]
        self._ids, self._mask = ids[0], masks[0] if masks else None

    def of(self, x: Tensor | dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the ids (n, length) and the mask (n, length) of examples."""
        if isinstance(x, Tensor):
            return x, x.new_ones(x.shape).bool()
        ids = x[self._ids]
        return ids, ids.new_ones(ids.shape).bool() if self._mask is None else x[self._mask]


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return (n, width), the mean of states (n, length, width) where the mask (n, length) is true; 0 where nowhere."""
    weights = mask.to(states.dtype)[..., None]
    return (states * weights).sum(-2) / weights.sum(-2).clamp(min=1)
