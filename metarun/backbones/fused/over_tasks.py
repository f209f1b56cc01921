"""Functions that the compiled code computes for several tasks at once."""

import inspect
from typing import Any

from torch import Tensor
from torch.autograd import Function


class OverTasks(Function):
    """A function of tensors whose first dimension holds one task after another, and of settings.

    The settings come last; the first one is the number of tasks. Vectorising adds tasks.
    """

    def __init_subclass__(cls) -> None:
        """Store the signature of `forward`, which torch otherwise computes anew in each call."""
        super().__init_subclass__()
        if "forward" in vars(cls):
            cls.forward.__signature__ = inspect.signature(cls.forward)  # type: ignore[attr-defined]

    @classmethod
    def vmap(cls, info: Any, dims: tuple[int | None, ...], *inputs: Any) -> Any:
        """See `torch.autograd.Function.vmap`."""
        *tensors, settings = inputs
        added = info.batch_size
        stacked = [_stack(each, dim, added) for each, dim in zip(tensors, dims, strict=False)]
        found = cls.apply(*stacked, (settings[0] * added, *settings[1:]))  # type: ignore[no-untyped-call]
        if isinstance(found, Tensor):
            return _split(found, added), 0
        return tuple(_split(each, added) for each in found), (0,) * len(found)


class LastDerivative(OverTasks):
    """A derivative that cannot be differentiated again."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        """See `torch.autograd.Function.setup_context`."""
        ctx.mark_non_differentiable(*output)


def _stack(each: Tensor | None, dim: int | None, tasks: int) -> Tensor | None:
    """Move the tasks in dimension `dim` into the first one; None: they share the tensor."""
    if each is None:
        return None
    return (each.expand(tasks, *each.shape) if dim is None else each.movedim(dim, 0)).flatten(0, 1)


def _split(each: Tensor, tasks: int) -> Tensor:
    return each.view(tasks, -1, *each.shape[1:])
