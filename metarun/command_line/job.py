"""One run of a sweep, as it is known by what it prints."""

import re
import signal
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metarun.results import OCCUPIED


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
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=40))

    def hear(self, line: str) -> tuple[int, float] | None:
        """Take note of a line that the run printed; return the step and the figure on meta-val if it told those."""
        if line.startswith("→ "):
            self.path, self.left = Path(line[2:]), ""
        elif line.startswith(OCCUPIED):
            self.state = "waiting"
        elif line.startswith("meta-training "):
            self.state = "training"
        elif line.startswith("meta-testing "):
            self.state, self.left = "testing", ""
        elif pace := re.match(r"(?:step ([\d,]+)|[\d,]+ of [\d,]+ tasks),.* about (.+) left", line):
            self.step, self.left = pace[1] or self.step, pace[2]
        look = re.match(r"step ([\d,]+): meta-val (?:accuracy ([\d.]+)%|mse ([\d.e+]+))", line)
        if look is None:
            return None
        self.step, accuracy, mse = look.groups()
        self.figure = f"{accuracy}%" if accuracy else f"mse {mse}"
        return int(self.step.replace(",", "")), float(accuracy) / 100 if accuracy else float(mse)

    @property
    def reason(self) -> str:
        """Why it failed, one line."""
        told = [line for line in self.complaints if line.startswith("metarun: error: ")]
        if told:
            return told[-1].removeprefix("metarun: error: ")
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
