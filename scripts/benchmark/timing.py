"""Timing several ways of doing the same work in turns, so that what else the machine does hits all of them alike."""

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]
Clock = Callable[[], float]  # seconds from some moment on


def cpu_seconds() -> float:
    """Return what this process and those it waited for had of the cores: a clock where others want the cores too."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass(frozen=True)
class Seconds:
    """What some repeats of one piece of work took.

    Args:
        each: seconds, in the order in which they were taken.
    """

    each: tuple[float, ...]

    @property
    def least(self) -> float:
        """What it takes when nothing disturbs."""
        return min(self.each)

    @property
    def median(self) -> float:
        """What it takes as a rule."""
        return statistics.median(self.each)


@dataclass(frozen=True)
class Ratio:
    """How many times longer one side took than the other, pair by pair."""

    median: float
    low: float
    high: float


def time_in_turns(
    sides: Sequence[Work],
    repeats: int,
    device: torch.device,
    warm_up: int = 1,
    clock: Clock = time.perf_counter,
) -> list[Seconds]:
    """Return what each side took: all of them in turns, forwards, then backwards, then forwards again (a b, b a, a b).

    Args:
        sides: each does its work once per call.
        repeats: timed calls of each.
        device: which is waited for before and after a call.
        warm_up: calls of each that are not timed.
        clock: of the wall, or `cpu_seconds`.
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
    """Wait until a GPU has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio_of(theirs: Seconds, ours: Seconds, their_share: float = 1.0) -> Ratio:
    """Return how many times longer they take for the same work.

    Args:
        theirs: as many as ours, taken in turns with them.
        ours: seconds.
        their_share: of the work, which they did; their seconds count for the whole of it.
    """
    pairs = [b / their_share / a for a, b in zip(ours.each, theirs.each, strict=True)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs))
