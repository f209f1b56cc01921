"""The events of meta-training and the interface of their observers."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of meta-training.

    Attributes:
        iteration: steps taken.
        fraction: of the training that is done, from 0 to 1.
        loss: mean over the steps since the last validation.
        learning_rate: of the outer loop, in the last step.
        seconds: since the start, including validation.
        iterations: steps of the whole training; None: limited by time only.
        between: whether it is only sent because time has passed, and would not be in a faster run.
    """

    iteration: int
    fraction: float
    loss: float
    learning_rate: float
    seconds: float
    iterations: int | None = None
    between: bool = False

    @property
    def step(self) -> str:
        """The steps taken, of how many: "20/100"."""
        total = "" if self.iterations is None else f"/{self.iterations:,}"
        return f"{self.iteration:,}{total}"


@dataclass(frozen=True)
class Validation:
    """The result of an evaluation on meta-val.

    Attributes:
        iteration: steps taken.
        loss: mean over the tasks that did not diverge; None: all did.
        value: mean accuracy, in [0, 1], or mean squared error of the tasks that did not diverge; None: all did.
        ci95: half-width of its 95 % interval; None for a single task.
        best: whether it is the best so far.
        candidate: whether its checkpoint may be selected; False if all tasks diverged or, in regression, any did.
        tasks: number of tasks.
        diverged: number of tasks that diverged.
        median: squared error, ranking diverged tasks last; None in classification, or if it is not finite.
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
    """Receives the events of meta-training, such as a screen or a log."""

    def on_progress(self, progress: TrainingProgress) -> None:
        """Called every few training steps."""

    def on_validation(self, validation: Validation) -> None:
        """Called after each evaluation on meta-val."""
