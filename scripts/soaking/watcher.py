"""Watches processes while they work, and says whether what they hold grows."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.soaking.processes import Look, look_at

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Seen:
    """A look at a process that plays a role, `seconds` after the watch began."""

    role: str
    seconds: float
    look: Look


class Watcher(threading.Thread):
    """Looks at processes every so often, until `end`.

    Args:
        who: tells which process plays which role now.
        every: seconds between two looks.
    """

    def __init__(self, who: Callable[[], Mapping[int, str]], every: float) -> None:
        super().__init__(daemon=True)
        self.who = who
        self.every = every
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self.began = time.monotonic()

    def run(self) -> None:
        while not self.over.wait(self.every):
            for pid, role in self.who().items():
                if look := look_at(pid):
                    self.seen.append(Seen(role, time.monotonic() - self.began, look))

    def end(self) -> list[Seen]:
        """Stop watching and return all that was seen."""
        self.over.set()
        self.join()
        return self.seen


@dataclass(frozen=True)
class Trend:
    """How what a role's processes hold developed.

    Args:
        processes: how many played the role.
        looks: how many figures the others stand for.
        first: MiB of own memory over the first quarter of the time: the median of a process that lives throughout, the
            most of processes that do not, which are killed before or after they have loaded what they need.
        last: the same of the last quarter.
        per_hour: MiB by which a straight line through the last three quarters grows in an hour; in the first one
            libraries are loaded.
        files_first: open files in the first quarter, likewise.
        files_last: the same of the last quarter.
    """

    processes: int
    looks: int
    first: float
    last: float
    per_hour: float
    files_first: int
    files_last: int


def at_their_most(seen: Sequence[Seen]) -> list[Seen]:
    """Return one look per process: the one at which its memory was largest."""
    most: dict[tuple[int, int], Seen] = {}
    for one in seen:
        process = (one.look.pid, one.look.began)
        if process not in most or one.look.own > most[process].look.own:
            most[process] = one
    return list(most.values())


def trend_of(seen: Sequence[Seen], short_lived: bool) -> Trend | None:
    """Return how the figures of one role developed; None where there are too few to tell."""
    typical = np.max if short_lived else np.median
    seconds = np.array([one.seconds for one in seen])
    own = np.array([one.look.own for one in seen])
    files = np.array([one.look.files for one in seen])
    if len(seen) < 4:
        return None
    begin, end = seconds.min(), seconds.max()
    quarter = (end - begin) / 4
    early, late, settled = seconds <= begin + quarter, seconds >= end - quarter, seconds >= begin + quarter
    per_hour = np.polyfit(seconds[settled], own[settled], 1)[0] * SECONDS_PER_HOUR if settled.sum() > 2 else 0.0
    return Trend(
        processes=len({(one.look.pid, one.look.began) for one in seen}),
        looks=len(seen),
        first=round(float(typical(own[early])), 1),
        last=round(float(typical(own[late])), 1),
        per_hour=round(float(per_hour), 2),
        files_first=int(typical(files[early])),
        files_last=int(typical(files[late])),
    )
