"""One run of a sweep, as it is known by the events that it tells."""

import signal
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.system.events import Event


@dataclass
class Job:
    """One run of a sweep: its words, and what it last said of itself.

    Args:
        number: in the sweep.
        words: the overrides that the user would type.
        label: those of them that tell it from the other runs.
        state: starting, waiting (for another process that has the same run at work), training, testing, done, failed,
            stopped, or pruned.
        step: of meta-training, as it last said.
        figure: on meta-val, as it last said.
        left: how long it has yet to meta-train or to be tested, as it last said.
        path: its run directory, once it said so.
        code: its exit code.
        pruned: whether it was told to end before its time.
        failure: why it failed, in its own words.
    """

    number: int
    words: list[str]
    label: str
    state: str = "starting"
    step: str = ""
    figure: str = ""
    left: str = ""
    path: Path | None = None
    code: int | None = None
    pruned: bool = False
    failure: str = ""
    complaints: deque[str] = field(default_factory=deque)

    def update(self, event: Event) -> tuple[int, float] | None:
        """Take note of an event; return the step and the score of a look at meta-val, the higher the better."""
        kind = event["event"]
        if kind in ("phase", "waiting"):
            self.state, self.left = event.get("phase", "waiting"), ""
        elif kind == "progress":
            self.step, self.left = event.get("step", self.step), event["left"]
        elif kind == "validated":
            self.step, self.figure = f"{event['step']:,}", event["figure"]
            return event["step"], event["score"]
        elif kind == "finished":
            self.path, self.left = Path(event["path"]), ""
        elif kind == "failed":
            self.failure = event["reason"]
        return None

    @property
    def reason(self) -> str:
        """Why it failed, one line."""
        if self.failure:
            return self.failure
        if self.code is not None and self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}, perhaps for want of memory"
        return self.complaints[-1] if self.complaints else f"exit code {self.code}"


def jobs_of(job_overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """Return the jobs of a sweep, each with a label that tells it from the others."""
    common = Counter(word for words in job_overrides for word in set(words))
    return [
        Job(first + i, list(words), " ".join(w for w in words if common[w] < len(job_overrides)) or " ".join(words))
        for i, words in enumerate(job_overrides)
    ]
