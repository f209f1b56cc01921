"""One run on several processes or machines: `torchrun … -m metarun train …` splits every meta-batch among them.

Each process, a rank, holds all that is learned and takes its share of a meta-batch's tasks. Meta-gradients are added
up, so every rank takes the very same step; the first rank alone writes.
"""

import importlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _NormBase

from metarun.errors import Interrupted

# A rank may wait for as long as another one meta-tests, or waits for a third process that has the same run at work.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Ranks:
    """The processes that share a run, seen from one of them.

    Args:
        number: of this one, from 0.
        count: of all.
    """

    number: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes, and tells the others what to start from."""
        return self.number == 0

    def share_of(self, tasks: int) -> tuple[int, int]:
        """Return the first of this process's tasks and how many they are; they follow those of the rank before."""
        each, left = divmod(tasks, self.count)
        return self.number * each + min(self.number, left), each + (self.number < left)

    def from_first(self, value: Any) -> Any:
        """Return what the first rank gives here; the others wait for it."""
        if self.count == 1:
            return value
        holder = [value]
        with _together():
            distributed.broadcast_object_list(holder, src=0)
        return holder[0]

    def most(self, number: int) -> int:
        """Return the largest of the numbers that the ranks give here."""
        if self.count == 1:
            return number
        largest = torch.tensor(number)
        with _together():
            distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Let each tensor be the sum of all ranks' own, in place."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _together():
            distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def one_after_the_other(self, module: nn.Module, before: Mapping[str, Tensor]) -> None:
        """Make running statistics what they were, had the ranks' tasks gone through the module one after the other.

        A forward pass makes of a running statistic x the number (1 - m) x + m s, so those of a rank make a x + b.

        Args:
            module: whose statistics each rank has updated by its own tasks.
            before: its state before that, the same on all ranks.
        """
        norms = {name: child for name, child in module.named_modules() if _has_statistics(child)}
        if self.count == 1 or not norms:
            return
        updates = [_update(norm, name, before) for name, norm in norms.items()]
        mine = torch.cat([part for update in updates for part in update])
        every = [torch.empty_like(mine) for _ in range(self.count)]
        with _together():
            distributed.all_gather(every, mine)
        sizes = [len(part) for update in updates for part in update]
        by_rank = [torch.split(parts, sizes) for parts in every]
        for i, (name, norm) in enumerate(norms.items()):
            known = torch.cat([before[f"{name}.running_mean"], before[f"{name}.running_var"]])
            calls = before[f"{name}.num_batches_tracked"]
            for parts in by_rank:
                kept, added = parts[2 * i], parts[2 * i + 1]
                known, calls = kept[0] * known + added, calls + kept[1].long()
            norm.running_mean, norm.running_var = known.chunk(2)
            norm.num_batches_tracked = calls


@contextmanager
def _together() -> Iterator[None]:
    """Within the block the ranks speak to each other; where one of them is gone all that is left to do is to save."""
    try:
        yield
    except RuntimeError as error:
        gone = "another process of this run is gone; the same command goes on from here."
        raise Interrupted(signal.SIGTERM, gone) from error


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, _NormBase) and module.running_mean is not None and module.momentum is not None


def _update(norm: Any, name: str, before: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (a, calls) and b of the update x → a x + b that some forward passes made."""
    calls = norm.num_batches_tracked - before[f"{name}.num_batches_tracked"]
    kept = (1 - norm.momentum) ** calls.to(norm.running_mean.dtype)
    known = torch.cat([before[f"{name}.running_mean"], before[f"{name}.running_var"]])
    added = torch.cat([norm.running_mean, norm.running_var]) - kept * known
    return torch.stack([kept, calls.to(kept.dtype)]), added


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it started this one, for as long as the block lasts."""
    if not started_by_torchrun():
        yield ALONE
        return
    # PyTorch loads this with the first optimiser, and its functions hold the group that is there then as a default:
    # the group's threads would outlive it, into the interpreter's end, where they may abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_gpu() -> str:
    """Return the name of the GPU that this process may use: of several on one machine each has its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if started_by_torchrun() else "cuda"


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ
