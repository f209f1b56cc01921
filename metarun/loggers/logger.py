"""What a logger is, and what it is told of the run."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from metarun.errors import UserError

Outcome = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class LoggedRun:
    """The run that is logged.

    Attributes:
        path: its directory, the last part of which is its name.
        id: 8 hexadecimal digits; a run that goes on has the one it had.
        results_dir: what all runs have in common lies here.
        step: meta-training steps taken so far; above 0 the run goes on, and so does its log.
        hyperparameters: its config, by dotted key.
    """

    path: Path
    id: str
    results_dir: Path
    step: int
    hyperparameters: Mapping[str, str | int | float | bool]


class Logger(Protocol):
    """Where figures go besides the run's own files.

    The constructor takes the keys of conf/logger/ and refuses what cannot be: it is called before the training begins.
    Any exception later turns the logger off, never the run. What `log` was told should survive the process, since
    a run that is killed goes on from its last checkpoint.
    """

    def begin(self, run: LoggedRun) -> None:
        """Open the log; where `run.step` is above 0, go on with the one that is there, and count no step twice."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Note figures such as `train/loss` after a meta-training step; steps never go back."""

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:
        """Note the meta-test's figures, and its curves over adaptation steps: before the first and after each."""

    def close(self, outcome: Outcome) -> None:
        """End the log, for now or for good; perhaps from another thread than the one that began it."""


def import_for(logger: str, module: str) -> Any:
    """Return a module that only this logger needs.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken installation raises many kinds
        raise UserError(
            f"logger={logger} needs a package that cannot be imported ({error})",
            f"install it with: pip install 'metarun[{logger}]'",
        ) from error
