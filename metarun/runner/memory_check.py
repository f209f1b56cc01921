"""Whether there is room for what a config asks for, asked before it is taken: Linux ends a process that takes more."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from metarun.config.keys_in_force import followed, set_by
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.system.memory import installed
from metarun.tasks.batch import TaskShape

_OF_A_WEIGHT = 16  # bytes: itself, its gradient, and what Adam knows of it
_OF_AN_INPUT = 32  # bytes of a number in a task's examples, while it is drawn and worked on; features take more


def check_room_for_network(make: Callable[[], nn.Module]) -> None:
    """Raise a UserError where a network is larger than the memory, of which torch's meta device takes none to try."""
    try:
        with torch.device("meta"):
            weights = sum(parameter.numel() for parameter in make().parameters())
    except RuntimeError as error:
        if "overflow" not in str(error):
            return
        weights = 2**63  # more than can be counted
    except Exception:  # what cannot be made there may be made elsewhere, or will be refused
        return
    if weights * _OF_A_WEIGHT > installed():
        raise UserError(
            f"the network has {weights:,} weights, and to train them takes {_gigabytes(weights * _OF_A_WEIGHT)} but "
            f"there are {_gigabytes(installed())}",
            "make it smaller, such as by `backbone.filters` or `backbone.hidden`.",
        )


def check_room_for_tasks(tasks: int, shape: TaskShape, inputs: Mapping[str, InputSpec]) -> None:
    """Raise a UserError where the examples of tasks that are drawn at once, those of a meta-batch, are too many.

    Args:
        tasks: how many.
        shape: of each.
        inputs: the fields of an example.
    """
    numbers = sum(math.prod(spec.shape) for spec in inputs.values())
    needed = tasks * _examples(shape) * numbers * _OF_AN_INPUT
    if needed <= installed():
        return
    of_one = needed // tasks
    what = "a task" if tasks == 1 else f"a meta-batch of {tasks:,} tasks, each"

    def fits(other: TaskShape) -> bool:
        return needed * _examples(other) // _examples(shape) <= installed()

    lower = shape.to_lower("way", "shot", "query", fits=fits)
    fewer = (
        f"`{followed('train.meta_batch')}`{set_by('train.meta_batch')}" if of_one <= installed() and tasks > 1 else ""
    )
    raise UserError(
        f"{what} of {shape.way} x ({shape.shot} + {shape.query}) examples, would take {_gigabytes(needed)} but there "
        f"are {_gigabytes(installed())}",
        f"lower {' or '.join(filter(None, (fewer, lower))) or 'the size of an example'}.",
    )


def _examples(shape: TaskShape) -> int:
    return shape.way * (shape.shot + shape.query)


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:,.0f} GB of memory"
