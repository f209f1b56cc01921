"""Runs a function written for one task over a meta-batch: task by task, or all at once, whichever is faster here."""

import hashlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

import metarun
from metarun.errors import UserError
from metarun.system.execution_mode import looping_over_tasks
from metarun.system.inputs import Inputs, first_field, map_inputs, rows
from metarun.system.memory import is_out_of_memory
from metarun.system.paths import data_root

log = logging.getLogger(__name__)

How = Literal["auto", "loop", "vectorised"]
OneTask = Callable[..., Tensor]

MEASURED_TASKS = 8  # of a meta-batch, at most, on which the two ways are compared
SMALL = 0.03  # seconds; what takes less is bound by the number of operations, of which vectorising has fewer
LOOPED = "tasks are run one by one: they cannot be vectorised (%s)"
CLEARLY = 0.95  # a loop has to take less than this share of the time of vectorised tasks to be chosen

_chosen: dict[str, How] = {}  # in this process, by the hash of what decides


class MayHaveState(Protocol):
    """What `over_tasks` asks of a module."""

    training: bool

    def buffers(self) -> Iterator[Tensor]:
        """Yield running statistics, if it has any."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is learned."""

    def modules(self) -> Iterator[nn.Module]:
        """Yield it and its parts."""


def over_tasks(one_task: OneTask, module: MayHaveState, how: How, *inputs: Inputs) -> Tensor:
    """Return `one_task` of every task, stacked.

    Args:
        one_task: takes one task's slices of `inputs`; it may use torch.func inside.
        module: what `one_task` calls. While training, a module with running statistics is updated by each call, which
            only a loop can do.
        how: "loop", "vectorised" (torch.func.vmap), or "auto": whichever a short measurement finds faster for such
            tasks, where both are possible.
        inputs: tensors (T, ...), or dicts of them.

    Returns:
        (T, ...) what `one_task` returned for each task.

    Raises:
        UserError: "vectorised" was asked for where only a loop can be right.
    """
    check_how(how)
    stateful = module.training and any(True for _ in module.buffers())
    if stateful and how == "vectorised":
        raise UserError(
            "train.over_tasks=vectorised cannot update running statistics task by task",
            "set `train.over_tasks=loop`, or a `backbone.norm` other than running.",
        )
    if how != "auto":
        return _run(one_task, how, inputs)
    if stateful or len(first_field(inputs[0])) == 1:
        return _run(one_task, "loop", inputs)
    kind = _kind(one_task, module, inputs)
    if _choice(kind, one_task, module, inputs) == "vectorised":
        random = torch.get_rng_state()
        try:
            return _run(one_task, "vectorised", inputs)
        except Exception as error:  # it was chosen before the network or the method was changed
            log.info(LOOPED, reason_against(error))
            torch.set_rng_state(random)
            _chosen[kind] = "loop"
    return _run(one_task, "loop", inputs)


def check_how(how: str) -> None:
    """Raise a UserError if there is no such way to run tasks."""
    if how not in get_args(How):
        raise UserError(f"train.over_tasks='{how}' is not one of {', '.join(get_args(How))}.")


def _run(one_task: OneTask, how: How, inputs: tuple[Inputs, ...]) -> Tensor:
    if how == "loop":
        with looping_over_tasks():
            return torch.stack([one_task(*task) for task in zip(*map(rows, inputs), strict=True)])
    with warnings.catch_warnings():  # whether it is slower for that is measured
        warnings.filterwarnings(
            "ignore", "There is a performance drop because we have not yet implemented the batching"
        )
        return torch.func.vmap(one_task, randomness="different")(*inputs)


def reason_against(error: Exception) -> str:
    """Return in a line why tasks cannot be vectorised; raise the error again where that is not at fault."""
    if is_out_of_memory(error):
        raise error
    first = error.__cause__ or error  # what a network of the user's own raised
    return str(first).strip().partition("\n")[0].rstrip(".") or type(first).__name__


def _choice(kind: str, one_task: OneTask, module: MayHaveState, inputs: tuple[Inputs, ...]) -> How:
    """Return the way that was chosen for such tasks, in this process or an earlier one; choose where none was.

    An earlier choice on this machine stands, so that the same command gives the same bits.
    """
    if kind not in _chosen:
        path = data_root() / "over_tasks" / kind
        _chosen[kind] = _remembered(path) or _remember(path, _measure(one_task, module, _first(inputs)))
    return _chosen[kind]


def choices() -> dict[str, How]:
    """Return what was chosen in this process so far, for a run that goes on in another one."""
    return dict(_chosen)


def restore_choices(choices: Mapping[str, How]) -> None:
    """Let choices of an earlier process stand, even where they are remembered no more, or otherwise."""
    if not set(choices.values()) <= {"loop", "vectorised"}:
        raise ValueError("tasks are run in a loop or vectorised")
    _chosen.update(choices)


def _remembered(path: Path) -> How | None:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return "loop" if text == "loop" else "vectorised" if text == "vectorised" else None


def _remember(path: Path, how: How) -> How:
    """Write a choice down, unless another process was first, whose choice then stands; return what stands."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(how)
            file.flush()
            os.link(file.name, path)
    except OSError:  # it is there, or the cache cannot be written and the choice holds for this process
        return _remembered(path) or how
    return how


def _first(inputs: tuple[Inputs, ...]) -> tuple[Inputs, ...]:
    return tuple(map_inputs(lambda tensor: tensor[:MEASURED_TASKS], each) for each in inputs)


def _kind(one_task: OneTask, module: MayHaveState, inputs: tuple[Inputs, ...]) -> str:
    """Return a hash of what decides which way is faster."""
    fields = [each if isinstance(each, dict) else {"": each} for each in _first(inputs)]
    tensors = [each for of_one in fields for each in of_one.values()]
    weights = tuple(tuple(weight.shape) for weight in module.parameters())
    shapes = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
    threads = torch.get_num_threads() if tensors[0].device.type == "cpu" else torch.cuda.get_device_name()
    modes = (module.training, torch.is_grad_enabled())
    versions = (torch.__version__, metarun.__version__)
    parts = tuple(f"{type(part).__module__}.{type(part).__qualname__}" for part in module.modules())
    kind = (one_task.__module__, one_task.__qualname__, parts, weights, shapes, threads, modes, versions)
    return hashlib.sha256(repr(kind).encode()).hexdigest()[:24]


def _measure(one_task: OneTask, module: MayHaveState, inputs: tuple[Inputs, ...]) -> How:
    """Compare the two ways on some tasks, gradient included where there is one; draws no random number."""
    device = first_field(inputs[0]).device
    learned = [weight for weight in module.parameters() if weight.requires_grad]

    def seconds(how: How) -> float:
        _wait_for(device)
        begin = time.perf_counter()
        found = _run(one_task, how, inputs)
        if found.requires_grad:
            torch.autograd.grad(found.sum(), learned, allow_unused=True)
        _wait_for(device)
        return time.perf_counter() - begin

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            seconds("vectorised")  # warms up
            vectorised = seconds("vectorised")
        except Exception as error:  # something in a network or a method of the user's own cannot be vectorised
            log.info(LOOPED, reason_against(error))
            return "loop"
        if vectorised < SMALL:
            return "vectorised"
        seconds("loop")
        pairs = [(seconds("loop"), seconds("vectorised")) for _ in range(3)]
    looped, vectorised = (min(times) for times in zip(*pairs, strict=True))
    how: How = "loop" if looped < CLEARLY * vectorised else "vectorised"
    words = ("one by one", "all at once") if how == "loop" else ("all at once", "one by one")
    times = sorted((looped, vectorised))
    log.info(
        "tasks are run %s: %.3g s for %s, %s %.3g s",
        words[0],
        times[0],
        len(first_field(inputs[0])),
        words[1],
        times[1],
    )
    return how


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
