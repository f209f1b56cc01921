"""Functions of maps that vectorise over tasks by folding them into channels."""

from typing import Any

from torch import Tensor
from torch.autograd import Function


class Folding(Function):
    """A function of maps (n, channels, ...), of numbers (channels) and, last, of settings; it returns maps and numbers.

    Each channel is computed by itself, so tasks can be further channels.
    """

    @classmethod
    def vmap(cls, info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
        """See `torch.autograd.Function.vmap`."""
        *tensors, settings = inputs
        folded = [_fold(each, dim, info.batch_size) for each, dim in zip(tensors, dims, strict=False)]
        found = cls.apply(*folded, settings)  # type: ignore[no-untyped-call]
        dims = tuple(_channels(each.ndim) for each in found)
        return tuple(each.unflatten(dim, (info.batch_size, -1)) for each, dim in zip(found, dims, strict=True)), dims


class LastDerivative(Folding):
    """A derivative that cannot be differentiated again."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        """See `torch.autograd.Function.setup_context`."""
        ctx.mark_non_differentiable(*output)


def _channels(ndim: int) -> int:
    """Return which dimension the channels are of maps, or of numbers."""
    return min(1, ndim - 1)


def _fold(each: Tensor, dim: int | None, tasks: int) -> Tensor:
    """Fold tasks into channels; tasks are in dimension `dim`, None: all tasks share the maps or numbers."""
    if dim is None:
        to = _channels(each.ndim)
        each = each.unsqueeze(to).expand(*each.shape[:to], tasks, *each.shape[to:])
    else:
        to = _channels(each.ndim - 1)
        each = each.movedim(dim, to)
    return each.flatten(to, to + 1)
