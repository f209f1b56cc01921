"""Kills processes of a soak at random instants, and keeps count."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from scripts.soaking.processes import look_at, runs_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
PATIENCE = 30.0  # seconds within which a run has to be gone after its sweep


@dataclass
class Killer:
    """Chooses whom to kill, when and how, by a seed.

    Args:
        seed: of the choices; the instants at which they find the processes are new each time.
        between: mean seconds between two kills.

    Attributes:
        kills: how many, by who was killed and how.
        outlived: runs that were still there `PATIENCE` seconds after their sweep was killed.
    """

    seed: int
    between: float
    kills: Counter[str] = field(default_factory=Counter)
    outlived: int = 0
    _orphans: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311, nobody is to be kept from guessing it

    def pause(self) -> float:
        """Return the seconds to wait before the next kill."""
        return self._random.expovariate(1 / self.between)

    def strike(self, sweep: int, lasting: int) -> None:
        """Kill a sweep, or one of its runs, or a run of the sweep that lasts."""
        whom = self._random.choice(["sweep", "run", "run", "run of the lasting sweep"])
        number = self._random.choice(SIGNALS)
        if whom == "sweep":
            for run in runs_of(sweep):
                if look := look_at(run):
                    self._orphans[run, look.began] = time.monotonic() + PATIENCE
            self._kill(sweep, whom, number)
        else:
            for run in runs_of(sweep if whom == "run" else lasting):
                self._kill(run, whom, number)

    def _kill(self, pid: int, whom: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.kill(pid, number)
            self.kills[f"{whom}, {number.name}"] += 1

    def look_for_orphans(self) -> None:
        """Count the runs that should be gone since their sweep is, and are not."""
        for (run, began), until in list(self._orphans.items()):
            look = look_at(run)
            if look is None or look.began != began:
                del self._orphans[run, began]
            elif time.monotonic() > until:
                self.outlived += 1
                del self._orphans[run, began]
