"""What the files of a run say, read for drawing; a file that is missing or damaged costs its own charts, no others."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.example_tasks import ExampleTask, load
from metarun.results import Record, RunDirectory, figures_by_step

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnRun:
    """A run as it is drawn beside others.

    Args:
        record: its row.
        name: what tells it from the others.
        colour: its number, from 0 to 7.
        by_step: (steps + 1, tasks) accuracy in percent, or squared error; None where it is not known.
        confidence: (tasks,) mean probability given to the predicted class, after the last step; None in regression.
        curve: the rows of curve.csv; None in rows of `metarun test`.
        examples: a few tasks.
    """

    record: Record
    name: str
    colour: int
    by_step: Floats | None
    confidence: Floats | None
    curve: pd.DataFrame | None
    examples: list[ExampleTask]


def read(record: Record, name: str, colour: int) -> tuple[DrawnRun, list[str]]:
    """Read a run's files; return it, and a sentence for each file that cannot be read."""
    run = RunDirectory(Path(record["path"]))
    sentences: list[str] = []

    def attempt(path: Path, read_file: Callable[[Path], Any], otherwise: Any) -> Any:
        try:
            return read_file(path) if path.is_file() else otherwise
        except (UserError, OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            sentences.append(reason if isinstance(error, UserError) else f"{path} cannot be read ({reason})")
            return otherwise

    by_step, confidence = attempt(run.tasks, lambda _: _judged(record), (None, None))
    curve = attempt(run.curve, _curve, None)
    return DrawnRun(record, name, colour, by_step, confidence, curve, attempt(run.examples, load, [])), sentences


def _judged(record: Record) -> tuple[Floats, Floats | None]:
    if "mse" in record:
        return figures_by_step(record), None
    return 100 * figures_by_step(record), figures_by_step(record, "confidence")[-1]


def _curve(path: Path) -> pd.DataFrame:
    curve = pd.read_csv(path)
    numbers = curve[["iteration", "loss", "accuracy"]].astype(np.float64)
    return numbers.replace([np.inf, -np.inf], np.nan).assign(split=curve["split"])
