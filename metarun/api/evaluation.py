"""Evaluate any function on metarun's tasks, and compare two runs."""

from collections.abc import Callable
from dataclasses import dataclass
from os import fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.algorithms import Stepless
from metarun.api.run import Run
from metarun.api.tasks import load_source
from metarun.errors import UserError
from metarun.evaluation.evaluate import Evaluation
from metarun.evaluation.evaluate import evaluate as evaluate_algorithm
from metarun.evaluation.floor import evaluate_floor
from metarun.evaluation.transduction import is_transductive
from metarun.reporting.significance import Paired
from metarun.reporting.tables.paired import compare_runs
from metarun.results.find_run import find_run
from metarun.results.statistics import mean_and_ci95
from metarun.runner.device import find_device
from metarun.tasks.batch import TaskShape

Solve = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluated:
    """The accuracy of a function on tasks.

    Args:
        accuracy: mean over the tasks, in [0, 1].
        ci95: half-width of its 95 % confidence interval (Student's t over tasks).
        floor: the accuracy of the nearest centroid of raw inputs on the same tasks.
        transductive: whether a query's prediction depends on the other queries.
        by_task: (tasks,) accuracy of each task.
    """

    accuracy: float
    ci95: float
    floor: float
    transductive: bool
    by_task: NDArray[np.float64]


def evaluate(
    solve: Solve,
    data: str,
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    tasks: int = 600,
    seed: int = 0,
    device: str = "cpu",
    config_dir: str | Path | None = None,
    **settings: Any,
) -> Evaluated:
    """Evaluate your function or module on the same meta-test tasks as the command line.

    Args:
        solve: maps support_x (way * shot, *shape), support_y (way * shot) and query_x (n, *shape) of one task to
            (n, way) logits.
        data: a name from `metarun data list`.
        way: classes per task.
        shot: support examples per class.
        query: query examples per class.
        tasks: number of tasks.
        seed: `test.seed`.
        device: of the tensors; "auto": a GPU if there is one.
        config_dir: a folder with your own YAML files.
        settings: keys of the data set.

    Raises:
        UserError: the data set or the device does not exist, or it has no classes or too few for such tasks.
    """
    source = load_source(data, config_dir, settings)
    if source.kind == "regression":
        raise UserError(
            f"data={data} has regression tasks but `evaluate` measures accuracy",
            "use data with classes, or draw the tasks with `load_tasks`.",
        )
    stream = source.stream("test", TaskShape(way, shot, query), seed, find_device(device), torch.float32)
    method = _Function(solve)
    evaluation: Evaluation = evaluate_algorithm(method, stream, tasks, 0)
    by_task = evaluation.values["accuracy"][-1].double().numpy()
    mean, half_width = mean_and_ci95(by_task)
    return Evaluated(
        accuracy=mean,
        ci95=float("nan") if half_width is None else half_width,
        floor=float(evaluate_floor(stream, tasks).headline.mean()),
        transductive=is_transductive(method, stream, 0),
        by_task=by_task,
    )


class _Function(Stepless):
    """A method that calls a function."""

    how = "loop"

    def __init__(self, solve: Solve) -> None:
        super().__init__()
        self.solve = solve

    def logits(self, support_x: Any, support_y: Tensor, query_x: Any, way: int) -> Tensor:  # noqa: ARG002
        """See `Stepless`."""
        return self.solve(support_x, support_y, query_x)


def compare(one: Run | str | Path, other: Run | str | Path, results_dir: str | Path = "results") -> Paired:
    """Compare two runs by paired tests over the meta-test tasks that both were tested on.

    Args:
        one: a run, also one of `metarun test`, or what names it, see `load`.
        other: another.
        results_dir: the directory of results.

    Returns:
        The difference `other` minus `one` with its interval and p-values.

    Raises:
        UserError: a run is not finished, the runs were not tested on the same tasks, or some tasks diverged.
    """
    return compare_runs(*(find_run(Path(results_dir), fspath(run)).read_finished() for run in (other, one)))
