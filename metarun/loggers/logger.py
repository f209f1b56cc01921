"""The interface of a logger."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from metarun.errors import UserError

Outcome = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class LoggedRun:
    """The run to log.

    Attributes:
        path: its directory; the last part is its name.
        id: 8 hexadecimal digits, the same when it is resumed.
        results_dir: the folder that all runs share.
        step: meta-training steps taken so far; above 0, the run and its log are resumed.
        hyperparameters: its config, by dotted key.
    """

    path: Path
    id: str
    results_dir: Path
    step: int
    hyperparameters: Mapping[str, str | int | float | bool]


class Logger(Protocol):
    """A destination for metrics, in addition to the run's own files.

    The constructor takes the keys of its file in conf/logger/ and is called before training, so it should reject
    invalid values. Any later exception disables the logger; the run continues. What `log` received should survive the
    process, since a killed run resumes from its last checkpoint.
    """

    def begin(self, run: LoggedRun) -> None:
        """Open the log; if `run.step` is above 0, append to the existing one without duplicating steps."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log metrics such as `train/loss` after a meta-training step; steps never decrease."""

    def conclude(self, step: int, figures: Mapping[str, float], by_step: Mapping[str, Sequence[float]]) -> None:
        """Log the metrics of the meta-test, and its curves: before the first adaptation step and after each."""

    def close(self, outcome: Outcome) -> None:
        """Close the log; the run may be resumed later. May be called from another thread."""


def import_for(logger: str, module: str) -> Any:
    """Import a module that only this logger needs.

    Raises:
        UserError: the import fails.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken installation may raise any exception
        raise UserError(
            f"logger={logger} needs a package that cannot be imported ({error})",
            f"install it with: pip install 'metarun[{logger}]'",
        ) from error
