"""Run a function written for one task over a meta-batch: in a loop or vectorised, whichever is faster."""

import hashlib
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

import metarun
from metarun.errors import UserError
from metarun.system.execution_mode import looping_over_tasks
from metarun.system.inputs import Inputs, first_field, map_inputs, rows
from metarun.system.limits import check_one_of
from metarun.system.memory import is_out_of_memory
from metarun.system.paths import data_root

log = logging.getLogger(__name__)

How = Literal["auto", "loop", "vectorised"]
OneTask = Callable[..., Tensor]

MEASURED_TASKS = 8  # of a meta-batch, at most, in the measurement
SMALL = 0.03  # seconds; below, the number of operations dominates, which vectorising reduces
LOOPED = "running tasks in a loop: they cannot be vectorised (%s)"
LOOP_MARGIN = 0.95  # a loop is chosen if it takes less than this fraction of the vectorised time

_chosen: dict[str, How] = {}  # in this process, by `_key`


def over_tasks(one_task: OneTask, module: nn.Module, how: How, *inputs: Inputs) -> Tensor:
    """Apply `one_task` to every task and stack the results.

    Args:
        one_task: takes one task's slices of `inputs`; it may use torch.func.
        module: the module that `one_task` calls. In training mode each call updates its running statistics, if any,
            which requires a loop.
        how: "loop", "vectorised" (torch.func.vmap), or "auto": the faster one by a short measurement, if both are
            possible.
        inputs: tensors (T, ...), or dicts of them.

    Returns:
        (T, ...) the results of `one_task`.

    Raises:
        UserError: `how` is "vectorised" but only a loop is correct.
    """
    check_how(how)
    stateful = module.training and any(True for _ in module.buffers())
    if stateful and how == "vectorised":
        raise UserError(
            "train.over_tasks=vectorised cannot update running statistics or moments task by task",
            "set `train.over_tasks=loop`, or a `backbone.norm` other than running, or `algo.inner_optimizer=sgd`.",
        )
    if how != "auto":
        return _run(one_task, how, inputs)
    if stateful or len(first_field(inputs[0])) == 1:
        return _run(one_task, "loop", inputs)
    key = _key(one_task, module, inputs)
    if _choose(key, one_task, module, inputs) == "vectorised":
        random = torch.get_rng_state()
        try:
            return _run(one_task, "vectorised", inputs)
        except Exception as error:  # the network or the method has changed since the choice
            log.info(LOOPED, why_not_vectorised(error))
            torch.set_rng_state(random)
            _chosen[key] = "loop"
    return _run(one_task, "loop", inputs)


def check_how(how: str) -> None:
    """Raise a UserError if `how` is invalid."""
    check_one_of("train.over_tasks", how, get_args(How))


def _run(one_task: OneTask, how: How, inputs: tuple[Inputs, ...]) -> Tensor:
    if how == "loop":
        with looping_over_tasks():
            return torch.stack([one_task(*task) for task in zip(*map(rows, inputs), strict=True)])
    with warnings.catch_warnings():  # the measurement shows whether it is slower
        warnings.filterwarnings(
            "ignore", "There is a performance drop because we have not yet implemented the batching"
        )
        return torch.func.vmap(one_task, randomness="different")(*inputs)


def why_not_vectorised(error: Exception) -> str:
    """Return in one line why tasks cannot be vectorised; reraise the error if it is out of memory."""
    if is_out_of_memory(error):
        raise error
    first = error.__cause__ or error  # the original error of a user's network
    return str(first).strip().partition("\n")[0].rstrip(".") or type(first).__name__


def _choose(key: str, one_task: OneTask, module: nn.Module, inputs: tuple[Inputs, ...]) -> How:
    """Return the choice for such tasks of this process or of an earlier one; measure if there is none.

    Earlier choices on this machine are reused, so that the same command gives the same bits.
    """
    if key not in _chosen:
        path = data_root() / "over_tasks" / key
        _chosen[key] = _read(path) or _write(path, _measure(one_task, module, _first(inputs)))
    return _chosen[key]


def choices() -> dict[str, How]:
    """Return the choices of this process so far, for a run that another process resumes."""
    return dict(_chosen)


def restore_choices(choices: Mapping[str, How]) -> None:
    """Use the choices of an earlier process, even if the stored ones are missing or differ."""
    if not set(choices.values()) <= {"loop", "vectorised"}:
        raise ValueError("each choice must be loop or vectorised")
    _chosen.update(choices)


def _read(path: Path) -> How | None:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return "loop" if text == "loop" else "vectorised" if text == "vectorised" else None


def _write(path: Path, how: How) -> How:
    """Store a choice unless another process has stored one; return the stored one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(how)
            file.flush()
            os.link(file.name, path)
    except OSError:  # it exists, or the cache cannot be written and the choice is for this process only
        return _read(path) or how
    return how


def _first(inputs: tuple[Inputs, ...]) -> tuple[Inputs, ...]:
    return tuple(map_inputs(lambda tensor: tensor[:MEASURED_TASKS], each) for each in inputs)


def _key(one_task: OneTask, module: nn.Module, inputs: tuple[Inputs, ...]) -> str:
    """Return a hash of everything that determines which is faster."""
    fields = [each if isinstance(each, dict) else {"": each} for each in _first(inputs)]
    tensors = [each for of_one in fields for each in of_one.values()]
    weights = tuple(tuple(weight.shape) for weight in module.parameters())
    shapes = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
    threads = torch.get_num_threads() if tensors[0].device.type == "cpu" else torch.cuda.get_device_name()
    modes = (module.training, torch.is_grad_enabled())
    versions = (torch.__version__, metarun.__version__)
    parts = tuple(_name_of(part) for part in module.modules())
    determinants = (one_task.__module__, one_task.__qualname__, parts, weights, shapes, threads, modes, versions)
    return hashlib.sha256(repr(determinants).encode()).hexdigest()[:24]


def _name_of(part: nn.Module) -> str:
    compiled = " compiled with its convolution" if getattr(part, "compiled", False) is True else ""
    return f"{type(part).__module__}.{type(part).__qualname__}{compiled}"


def _measure(one_task: OneTask, module: nn.Module, inputs: tuple[Inputs, ...]) -> How:
    """Time a loop and vmap on some tasks, including the gradient if there is one; keeps the random state."""
    device = first_field(inputs[0]).device
    learned = [weight for weight in module.parameters() if weight.requires_grad]

    def seconds(how: How) -> float:
        wait_for(device)
        start = time.perf_counter()
        results = _run(one_task, how, inputs)
        if results.requires_grad:
            torch.autograd.grad(results.sum(), learned, allow_unused=True)
        wait_for(device)
        return time.perf_counter() - start

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            seconds("vectorised")  # warms up
            vectorised = seconds("vectorised")
        except Exception as error:  # a user's network or method cannot be vectorised
            log.info(LOOPED, why_not_vectorised(error))
            return "loop"
        if vectorised < SMALL:
            return "vectorised"
        seconds("loop")
        pairs = [(seconds("loop"), seconds("vectorised")) for _ in range(3)]
    looped, vectorised = (min(times) for times in zip(*pairs, strict=True))
    how: How = "loop" if looped < LOOP_MARGIN * vectorised else "vectorised"
    tasks = len(first_field(inputs[0]))
    if how == "loop":
        log.debug("running tasks in a loop: %.3g s for %s tasks (vectorised: %.3g s)", looped, tasks, vectorised)
    else:
        log.debug("running tasks vectorised: %.3g s for %s tasks (looped: %.3g s)", vectorised, tasks, looped)
    return how


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given, before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
