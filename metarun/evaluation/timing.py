"""The time that a method takes for one task."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

from metarun.tasks.vectorize import wait_for


class OnDevice(Protocol):
    """One or more tasks."""

    @property
    def device(self) -> torch.device:
        """Where they are."""


Task = TypeVar("Task", bound=OnDevice)


def fastest_ms(
    run: Callable[[Task], object], draw: Callable[[int], Task], warm_up: int, repeats: int
) -> tuple[float, float]:
    """Return the milliseconds that `run` takes for a task: wall time, and CPU time over all threads.

    Other processes on the machine can only add time, so each is the minimum over `repeats` tasks, after those of the
    warm-up.
    """
    wall, cpu = [], []
    for number in range(warm_up + repeats):
        task = draw(number)
        wait_for(task.device)
        started, used = time.perf_counter(), time.process_time()
        run(task)
        wait_for(task.device)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    return 1000 * min(wall[warm_up:]), 1000 * min(cpu[warm_up:])
