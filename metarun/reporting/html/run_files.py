"""Read the files of a run for drawing; a missing or damaged file only affects its own charts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.reporting.tables.flags import share_all_tasks
from metarun.reporting.tables.pivot import figure_over_seeds
from metarun.results import checksums as sums
from metarun.results.class_figures import ClassFigures, read_classes
from metarun.results.example_tasks import ExampleTask, load
from metarun.results.metrics import ACCURACY, figure, metric_of
from metarun.results.plane_paths import PlanePaths
from metarun.results.plane_paths import load as load_paths
from metarun.results.record_schema import LARGEST
from metarun.results.records import Record, figures_by_step
from metarun.results.robot_poses import RobotPoses
from metarun.results.robot_poses import load as load_poses
from metarun.results.run_directory import MORE, RunDirectory
from metarun.results.set_rows import is_set_row

Floats = NDArray[np.float64]
LARGEST_CURVE = 1 << 26  # bytes


@dataclass(frozen=True)
class DrawnRun:
    """A run with the contents of its files, or the mean of runs that differ only in their seed.

    Args:
        record: its row, the first of several.
        result: its result as text.
        name: its short name.
        row: of the table.
        place: among the configurations of its setting; its colour.
        by_step: (steps + 1, tasks) values of its metric, accuracies in percent; None if unknown.
        confidence: (tasks,) mean probability of the predicted class, after the last step; None in regression.
        curve: the rows of curve.csv; None for `metarun test`.
        examples: a few example tasks.
        classes: the figures of single classes; None if unknown.
        paths: a few tasks in the plane, in reinforcement learning.
        poses: a few tasks of a robot, likewise.
    """

    record: Record
    result: str
    name: str
    row: int
    place: int
    by_step: Floats | None
    confidence: Floats | None
    curve: pd.DataFrame | None
    examples: list[ExampleTask]
    classes: ClassFigures | None = None
    paths: Sequence[PlanePaths] = ()
    poses: Sequence[RobotPoses] = ()


def read(record: Record, name: str, row: int, place: int) -> tuple[DrawnRun, list[str]]:
    """Read a run's files; return the run, and a message for each file that cannot be read."""
    run = RunDirectory(Path(record["path"]))
    errors: list[str] = []

    def attempt(path: Path, read_file: Callable[[Path], Any], otherwise: Any) -> Any:
        try:
            return read_file(path) if path.is_file() else otherwise
        except (UserError, OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            errors.append(reason if isinstance(error, UserError) else f"{path} cannot be read ({reason})")
            return otherwise

    by_step, confidence = attempt(run.tasks, lambda _: _test_values(record), (None, None))
    if is_set_row(record):  # its curve and example tasks are shown with the mean over all data sets
        return DrawnRun(record, figure(record), name, row, place, by_step, confidence, None, []), errors
    curve = attempt(run.curve, _curve, None)
    examples = attempt(run.examples, load, [])
    classes = attempt(run.classes, read_classes, None)
    paths, poses = attempt(run.paths, load_paths, []), attempt(run.poses, load_poses, [])
    return DrawnRun(
        record, figure(record), name, row, place, by_step, confidence, curve, examples, classes, paths, poses
    ), errors


def read_all(records: Sequence[Record], name: str, row: int, place: int) -> tuple[DrawnRun, list[str]]:
    """Read the files of runs that differ only in their seed; return their means, with the examples of the first.

    Values by task are means over the seeds if all were tested on the same tasks, else those of the first seed.
    """
    found = [read(record, name, row, place) for record in records]
    runs, errors = [run for run, _ in found], [error for _, each in found for error in each]
    if len(runs) == 1:
        return runs[0], errors
    first = runs[0]
    together = share_all_tasks(records)
    curves = [run.curve for run in runs if run.curve is not None]
    by_step = _mean([run.by_step for run in runs]) if together else None
    confidence = _mean([run.confidence for run in runs]) if together else None
    merged = replace(
        first,
        result=figure_over_seeds(records),
        by_step=first.by_step if by_step is None else by_step,
        confidence=first.confidence if by_step is None else confidence,
        curve=pd.concat(curves).groupby(["split", "iteration"], as_index=False).mean() if curves else None,
    )
    return merged, errors


def _mean(values: Sequence[Floats | None]) -> Floats | None:
    """Return the mean over runs; None if one of them has no values, or values of other tasks or steps."""
    known = [each for each in values if each is not None]
    if len(known) < len(values) or len({each.shape for each in known}) > 1:
        return None
    mean: Floats = np.mean(known, axis=0)
    return mean


def _test_values(record: Record) -> tuple[Floats, Floats | None]:
    metric = metric_of(record)
    confidence = figures_by_step(record, "confidence")[-1] if metric is ACCURACY else None
    return metric.scale * figures_by_step(record), confidence


def _curve(path: Path) -> pd.DataFrame:
    """Read a curve.csv; missing and implausibly large numbers are NaN."""
    if path.stat().st_size > LARGEST_CURVE:
        raise ValueError("it is too large")
    sums.check(path)
    try:
        curve = pd.read_csv(path, dtype={"split": str})
        columns = [name for name in ("iteration", "loss", "accuracy", *MORE) if name in curve or name not in MORE]
        numbers = curve[columns].astype(np.float64)
    except Exception as error:  # pandas raises many kinds on invalid text
        raise ValueError(" ".join(str(error).split())) from error
    return numbers.where(numbers.abs() < LARGEST).assign(split=curve["split"])
