"""The state of one run of a sweep, updated from its events."""

import signal
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.system.events import Event


@dataclass
class Job:
    """One run of a sweep.

    Args:
        number: in the sweep.
        overrides: as the user would type them.
        label: the overrides that distinguish it from the other runs.
        state: starting, waiting (another process is running this run), training, testing, done, failed, stopped, or
            pruned.
        step: the last reported step of meta-training.
        figure: the last reported result on meta-val, as text.
        value: the same, as a number.
        result: the result on meta-test, once finished.
        left: the reported time left to meta-train or to meta-test.
        path: its run directory, once known.
        code: its exit code.
        pruned: whether the search ended it early.
        failure: the error that it reported.
        stderr: the last lines of its stderr.
    """

    number: int
    overrides: list[str]
    label: str
    state: str = "starting"
    step: str = ""
    figure: str = ""
    value: float | None = None
    result: str = ""
    left: str = ""
    path: Path | None = None
    code: int | None = None
    pruned: bool = False
    failure: str = ""
    stderr: deque[str] = field(default_factory=deque)

    def update(self, event: Event) -> tuple[int, float] | None:
        """Apply an event; after a validation, return its step and its score (higher is better)."""
        kind = event["event"]
        if kind in ("phase", "waiting"):
            self.state, self.left = event.get("phase", "waiting"), ""
        elif kind == "progress":
            self.step, self.left = event.get("step", self.step), event["left"]
        elif kind == "validated":
            _, slash, total = self.step.partition("/")
            self.step, self.figure = f"{event['step']:,}{slash}{total}", event["figure"]
            self.value = event["value"]
            return event["step"], event["score"]
        elif kind == "finished":
            self.path, self.result, self.left = Path(event["path"]), event.get("figure", ""), ""
        elif kind == "failed":
            self.failure = event["reason"]
        return None

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.failure:
            return self.failure
        if self.code is not None and self.code < 0:
            name = {each.value: each.name for each in signal.Signals}.get(-self.code, f"signal {-self.code}")
            return f"killed by {name}{', perhaps out of memory' if name == 'SIGKILL' else ''}"
        return self.stderr[-1] if self.stderr else f"exit code {self.code}"


def jobs_of(job_overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """Return the jobs of a sweep, each labelled by the overrides that not all jobs share."""
    counts = Counter(override for overrides in job_overrides for override in set(overrides))
    jobs = []
    for number, overrides in enumerate(job_overrides, first):
        label = " ".join(override for override in overrides if counts[override] < len(job_overrides))
        jobs.append(Job(number, list(overrides), label or " ".join(overrides)))
    return jobs
