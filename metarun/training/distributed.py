"""One run on several processes or machines: `torchrun … -m metarun train …` splits every meta-batch among them.

Each process (rank) holds all weights and processes its share of a meta-batch's tasks. Meta-gradients are summed, so
every rank takes the same step. Only the first rank writes files.
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
from metarun.system.flat import flat, split_like

# A rank may wait while the first one meta-tests, or waits for another process that is running the same run.
TIMEOUT = timedelta(days=30)


@dataclass(frozen=True)
class Ranks:
    """The processes that share a run, from the view of one of them.

    Args:
        rank: of this process, from 0.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and sends the initial state to the others."""
        return self.rank == 0

    def share_of(self, tasks: int) -> tuple[int, int]:
        """Return this process's first task and its number of tasks; shares are consecutive."""
        each, left = divmod(tasks, self.world_size)
        return self.rank * each + min(self.rank, left), each + (self.rank < left)

    def broadcast(self, value: Any) -> Any:
        """Return the value of the first rank on all ranks."""
        if self.world_size == 1:
            return value
        holder = [value]
        with _collective():
            distributed.broadcast_object_list(holder, src=0)
        return holder[0]

    def all_max(self, number: int) -> int:
        """Return the maximum over the ranks."""
        if self.world_size == 1:
            return number
        largest = torch.tensor(number)
        with _collective():
            distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def all_sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place."""
        if self.world_size == 1:
            return
        summed = flat(tensors)
        with _collective():
            distributed.all_reduce(summed)
        for tensor, total in zip(tensors, split_like(summed, tensors), strict=True):
            tensor.copy_(total)

    def merge_running_statistics(self, module: nn.Module, before: Mapping[str, Tensor]) -> None:
        """Set running statistics to what they would be if one process had processed all ranks' tasks in order.

        A forward pass changes a running statistic x to (1 - m) x + m s, so all passes of a rank change it to a x + b.

        Args:
            module: with statistics that each rank has updated with its own tasks.
            before: its state before that, the same on all ranks.
        """
        norms = {name: child for name, child in module.named_modules() if _has_statistics(child)}
        if self.world_size == 1 or not norms:
            return
        updates = [_update(norm, name, before) for name, norm in norms.items()]
        own = torch.cat([part for update in updates for part in update])
        gathered = [torch.empty_like(own) for _ in range(self.world_size)]
        with _collective():
            distributed.all_gather(gathered, own)
        sizes = [len(part) for update in updates for part in update]
        by_rank = [torch.split(parts, sizes) for parts in gathered]
        for i, (name, norm) in enumerate(norms.items()):
            known = torch.cat([before[f"{name}.running_mean"], before[f"{name}.running_var"]])
            calls = before[f"{name}.num_batches_tracked"]
            for parts in by_rank:
                kept, added = parts[2 * i], parts[2 * i + 1]
                known, calls = kept[0] * known + added, calls + kept[1].long()
            norm.running_mean, norm.running_var = known.chunk(2)
            norm.num_batches_tracked = calls


@contextmanager
def _collective() -> Iterator[None]:
    """Run collective operations in the block; if another rank has ended, stop and save."""
    try:
        yield
    except RuntimeError as error:
        message = "another process of this run has ended; rerun the same command to resume."
        raise Interrupted(signal.SIGTERM, message) from error


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, _NormBase) and module.running_mean is not None and module.momentum is not None


def _update(norm: Any, name: str, before: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (a, calls) and b of the update x → a x + b by the forward passes."""
    calls = norm.num_batches_tracked - before[f"{name}.num_batches_tracked"]
    kept = (1 - norm.momentum) ** calls.to(norm.running_mean.dtype)
    known = torch.cat([before[f"{name}.running_mean"], before[f"{name}.running_var"]])
    added = torch.cat([norm.running_mean, norm.running_var]) - kept * known
    return torch.stack([kept, calls.to(kept.dtype)]), added


SINGLE_PROCESS = Ranks()


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the process group within the block, if torchrun started this process."""
    if not started_by_torchrun():
        yield SINGLE_PROCESS
        return
    # PyTorch imports this with the first optimiser, and its functions keep the current group as a default argument. The
    # group's threads would then survive until the interpreter exits, where they may abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group("cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_gpu() -> str:
    """Return the name of this process's GPU; each process on a machine has its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if started_by_torchrun() else "cuda"


def started_by_torchrun() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ
