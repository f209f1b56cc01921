"""What a meta-training tells of itself, and whom."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Pace:
    """How meta-training goes.

    Attributes:
        iteration: steps taken.
        fraction: how much of the training is over, from 0 to 1.
        loss: the mean over the steps since the last look at meta-val.
        learning_rate: the outer one, of the last step.
        seconds: since the start, looks at meta-val and all.
    """

    iteration: int
    fraction: float
    loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Look:
    """What a look at meta-val found.

    Attributes:
        iteration: steps taken.
        loss: mean over the tasks that did not diverge; None: all did.
        value: mean accuracy, in [0, 1], or mean squared error of the tasks that did not diverge; None: all did.
        ci95: half-width of its 95 % interval; None for a single task.
        best: whether it is the best so far.
        candidate: whether it could have been; not with a task that diverged, in regression, or with none that did not.
        tasks: looked at.
        diverged: how many of them.
        median: squared error, those that diverged above all; None in classification, or where it is no number.
    """

    iteration: int
    loss: float | None
    value: float | None
    ci95: float | None
    best: bool
    candidate: bool = True
    tasks: int = 0
    diverged: int = 0
    median: float | None = None


class Observer(Protocol):
    """Whoever wants to know how it goes: a screen, a log."""

    def trained(self, pace: Pace) -> None:
        """Some more steps were taken."""

    def validated(self, look: Look) -> None:
        """Meta-val was looked at."""
