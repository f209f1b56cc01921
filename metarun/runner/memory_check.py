"""Check that a config fits in memory before allocating it; Linux would kill the process."""

import math
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import nn

from metarun.config.key_origins import set_by, source_key
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.system.memory import total_memory
from metarun.tasks.batch import TaskShape

_WEIGHT_BYTES = 16  # per weight: itself, its gradient and two moments of Adam
_INPUT_BYTES = 32  # per value of a task's examples, while drawn and processed; features take more


def check_network_fits(make: Callable[[], nn.Module]) -> None:
    """Raise a UserError if a network is larger than memory; torch's meta device can build it without memory."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            # A network that loads its own weights does not need them here.
            warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")
            weights = sum(parameter.numel() for parameter in make().parameters())
    except RuntimeError as error:
        if "overflow" not in str(error):
            return
        weights = 2**63  # the number overflows
    except Exception:  # it may work on another device, or will be refused later
        return
    if weights * _WEIGHT_BYTES > total_memory():
        raise UserError(
            f"training {weights:,} weights takes {_gigabytes(weights * _WEIGHT_BYTES)} but this machine has "
            f"{_gigabytes(total_memory())}",
            "make the network smaller, such as with `backbone.filters` or `backbone.hidden`.",
        )


def check_tasks_fit(tasks: int, shape: TaskShape, inputs: Mapping[str, InputSpec]) -> None:
    """Raise a UserError if the examples of tasks that are drawn at once, such as a meta-batch, do not fit in memory.

    Args:
        tasks: how many.
        shape: of each.
        inputs: the fields of an example.
    """
    numbers = sum(math.prod(spec.shape) for spec in inputs.values())
    needed = tasks * _examples(shape) * numbers * _INPUT_BYTES
    if needed <= total_memory():
        return
    per_task = needed // tasks
    what = "a task" if tasks == 1 else f"a meta-batch of {tasks:,} tasks"

    def fits(other: TaskShape) -> bool:
        return needed * _examples(other) // _examples(shape) <= total_memory()

    lower = shape.to_lower("way", "shot", "query", fits=fits)
    fewer = (
        f"`{source_key('train.meta_batch')}`{set_by('train.meta_batch')}"
        if per_task <= total_memory() and tasks > 1
        else ""
    )
    raise UserError(
        f"{what} of {shape.way} x ({shape.shot} + {shape.query}) examples takes {_gigabytes(needed)} but this machine "
        f"has {_gigabytes(total_memory())}",
        f"lower {' or '.join(filter(None, (fewer, lower))) or 'the size of an example'}.",
    )


def _examples(shape: TaskShape) -> int:
    return shape.way * (shape.shot + shape.query)


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.0f} GB of memory"
