"""Kill processes of a soak test at random instants, and count the kills."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from scripts.soaking.processes import read_state, runs_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
GRACE_SECONDS = 30.0  # within which a run must end after its sweep


@dataclass
class Killer:
    """Choose targets, times and signals from a seed.

    Args:
        seed: of the choices; the state of the processes at each kill differs between soaks.
        between: mean seconds between two kills.

    Attributes:
        kills: number of kills, by target and signal.
        outlived: number of runs still active `GRACE_SECONDS` after their sweep was killed.
    """

    seed: int
    between: float
    kills: Counter[str] = field(default_factory=Counter)
    outlived: int = 0
    _orphans: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311, not used for security

    def draw_interval(self) -> float:
        """Return the seconds until the next kill."""
        return self._random.expovariate(1 / self.between)

    def strike(self, sweep: int, lasting: int) -> None:
        """Kill a sweep, one of its runs, or a run of the lasting sweep."""
        target = self._random.choice(["sweep", "run", "run", "run of the lasting sweep"])
        number = self._random.choice(SIGNALS)
        if target == "sweep":
            for run in runs_of(sweep):
                if state := read_state(run):
                    self._orphans[run, state.began] = time.monotonic() + GRACE_SECONDS
            self._kill(sweep, target, number)
        else:
            for run in runs_of(sweep if target == "run" else lasting):
                self._kill(run, target, number)

    def _kill(self, pid: int, target: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has already ended
            os.kill(pid, number)
            self.kills[f"{target}, {number.name}"] += 1

    def count_orphans(self) -> None:
        """Count the runs that have not ended in time after their sweep."""
        for (run, began), until in list(self._orphans.items()):
            state = read_state(run)
            if state is None or state.began != began:
                del self._orphans[run, began]
            elif time.monotonic() > until:
                self.outlived += 1
                del self._orphans[run, began]
