"""Sample the resources of running processes, and find out whether they grow."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.soaking.processes import ProcessState, read_state

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Sample:
    """The state of a process with a role, `seconds` after the watcher started."""

    role: str
    seconds: float
    state: ProcessState


class Watcher(threading.Thread):
    """Sample processes regularly until `end`.

    Args:
        roles: returns the role of each current process.
        every: seconds between two samples.
    """

    def __init__(self, roles: Callable[[], Mapping[int, str]], every: float) -> None:
        super().__init__(daemon=True)
        self.roles = roles
        self.every = every
        self.samples: list[Sample] = []
        self.over = threading.Event()
        self.began = time.monotonic()

    def run(self) -> None:
        while not self.over.wait(self.every):
            for pid, role in self.roles().items():
                if state := read_state(pid):
                    self.samples.append(Sample(role, time.monotonic() - self.began, state))

    def end(self) -> list[Sample]:
        """Stop and return all samples."""
        self.over.set()
        self.join()
        return self.samples


@dataclass(frozen=True)
class Trend:
    """The development of a role's resources.

    Args:
        processes: number of processes with the role.
        looks: number of samples.
        first: MiB of own memory in the first quarter of the time: the median for a lasting process, the maximum for
            short-lived ones, which may be killed before they have loaded everything.
        last: the same for the last quarter.
        per_hour: slope in MiB per hour of a line through the last three quarters; the first is for loading libraries.
        files_first: open files in the first quarter, likewise.
        files_last: the same for the last quarter.
    """

    processes: int
    looks: int
    first: float
    last: float
    per_hour: float
    files_first: int
    files_last: int


def peak_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Return one sample per process: the one with the most memory."""
    peaks: dict[tuple[int, int], Sample] = {}
    for sample in samples:
        process = (sample.state.pid, sample.state.began)
        if process not in peaks or sample.state.own > peaks[process].state.own:
            peaks[process] = sample
    return list(peaks.values())


def trend_of(samples: Sequence[Sample], short_lived: bool) -> Trend | None:
    """Return the trend of one role, or None if there are too few samples."""
    typical = np.max if short_lived else np.median
    seconds = np.array([sample.seconds for sample in samples])
    own = np.array([sample.state.own for sample in samples])
    files = np.array([sample.state.files for sample in samples])
    if len(samples) < 4:
        return None
    begin, end = seconds.min(), seconds.max()
    quarter = (end - begin) / 4
    early, late, warm = seconds <= begin + quarter, seconds >= end - quarter, seconds >= begin + quarter
    per_hour = np.polyfit(seconds[warm], own[warm], 1)[0] * SECONDS_PER_HOUR if warm.sum() > 2 else 0.0
    return Trend(
        processes=len({(sample.state.pid, sample.state.began) for sample in samples}),
        looks=len(samples),
        first=round(float(typical(own[early])), 1),
        last=round(float(typical(own[late])), 1),
        per_hour=round(float(per_hour), 2),
        files_first=int(typical(files[early])),
        files_last=int(typical(files[late])),
    )
