"""Runs a function written for one task over a meta-batch: task by task, or all at once."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from metarun.errors import UserError

How = Literal["auto", "loop", "vectorised"]


def over_tasks(one_task: Callable[..., Tensor], module: nn.Module, how: How, *tensors: Tensor) -> Tensor:
    """Return `one_task` of every task, stacked.

    Args:
        one_task: takes one task's slices of `tensors`; it may use torch.func inside.
        module: what `one_task` calls. While training, a module with running statistics is updated by each call, which
            only a loop can do.
        how: "loop", "vectorised" (torch.func.vmap), or "auto": vectorised wherever that is possible.
        tensors: each (T, ...).

    Returns:
        (T, ...) what `one_task` returned for each task.

    Raises:
        UserError: "vectorised" was asked for where only a loop can be right.
    """
    if how not in ("auto", "loop", "vectorised"):
        raise UserError(f"train.over_tasks='{how}' is not one of auto, loop, vectorised.")
    stateful = module.training and any(True for _ in module.buffers())
    if stateful and how == "vectorised":
        raise UserError(
            "train.over_tasks=vectorised cannot update running statistics task by task; "
            "set `train.over_tasks=loop`, or a `backbone.norm` other than running."
        )
    if how == "loop" or stateful:
        return torch.stack([one_task(*task) for task in zip(*tensors, strict=True)])
    return torch.func.vmap(one_task, randomness="different")(*tensors)
