"""Time several implementations of the same work alternately, so that other load affects all of them equally."""

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]
Clock = Callable[[], float]  # seconds since some moment


def cpu_seconds() -> float:
    """Return the CPU time of this process and its finished children, for machines with other load."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Seconds:
    """The times of several repeats of the same work.

    Args:
        each: seconds, in order of measurement.
    """

    each: tuple[float, ...]

    @property
    def least(self) -> float:
        """The minimum: the time without disturbance."""
        return min(self.each)

    @property
    def median(self) -> float:
        """The median time."""
        return statistics.median(self.each)


@dataclass(frozen=True)
class Ratio:
    """The ratio of two sides' times over pairs of repeats."""

    median: float
    low: float
    high: float


def time_alternating(
    sides: Sequence[Work],
    repeats: int,
    device: torch.device,
    warm_up: int = 1,
    clock: Clock = time.perf_counter,
) -> list[Seconds]:
    """Time each side alternately, in alternating order (a b, b a, a b).

    Args:
        sides: each does its work once per call.
        repeats: timed calls of each.
        device: synchronised before and after each call.
        warm_up: untimed calls of each.
        clock: wall time, or `cpu_seconds`.
    """
    for work in sides:
        for _ in range(warm_up):
            work()
    each: list[list[float]] = [[] for _ in sides]
    for repeat in range(repeats):
        order = range(len(sides)) if repeat % 2 == 0 else reversed(range(len(sides)))
        for i in order:
            each[i].append(time_once(sides[i], device, clock))
    return [Seconds(tuple(seconds)) for seconds in each]


def time_once(work: Work, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Return the seconds of one call."""
    wait_for(device)
    begin = clock()
    work()
    wait_for(device)
    return clock() - begin


def wait_for(device: torch.device) -> None:
    """Wait for a GPU to finish its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio_of(theirs: Seconds, ours: Seconds, their_share: float = 1.0) -> Ratio:
    """Return the ratio of their time to ours for the same work.

    Args:
        theirs: as many as ours, measured alternately.
        ours: seconds.
        their_share: fraction of the work that they did; their seconds are scaled to all of it.
    """
    pairs = [b / their_share / a for a, b in zip(ours.each, theirs.each, strict=True)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs))
