"""Evaluate a method on meta-val while it is trained."""

import math
from collections.abc import Callable
from typing import Any

from metarun.algorithms import Algorithm, Method, PolicyMethod
from metarun.evaluation.evaluate import Evaluation, evaluate
from metarun.evaluation.returns import evaluate_returns
from metarun.loggers.observer import Validation
from metarun.results.metrics import ACCURACY, RETURN
from metarun.results.statistics import mean_and_ci95
from metarun.rl.stream import EnvironmentStream
from metarun.tasks.stream import TaskStream
from metarun.training.progress import Progress
from metarun.training.schedule import Schedule


def evaluate_on_meta_val(
    method: Method, stream: TaskStream | EnvironmentStream, schedule: Schedule, check_interrupt: Callable[[], None]
) -> Evaluation:
    """Evaluate a method on the first tasks of a stream; `check_interrupt` is called between chunks."""
    tasks, steps = schedule.validate_tasks, schedule.validate_steps
    if isinstance(stream, EnvironmentStream):
        assert isinstance(method, PolicyMethod)
        return evaluate_returns(method, stream, tasks, steps, lambda *_: check_interrupt())
    assert isinstance(method, Algorithm)
    method.choose(stream, steps)
    return evaluate(method, stream, tasks, steps, lambda *_: check_interrupt(), every_step=False)


def summarise(found: Evaluation, progress: Progress) -> Validation:
    """Summarise an evaluation on meta-val for the observers of a training."""
    any_value = len(found.headline) > 0
    return Validation(
        iteration=progress.iteration,
        loss=found.loss_by_step[-1] if found.loss_by_step else None,
        value=float(found.headline.double().mean()) if any_value else None,
        ci95=mean_and_ci95(found.headline.numpy())[1] if any_value else None,
        best=found.score > progress.best_score,
        candidate=math.isfinite(found.score),
        tasks=found.loss.shape[1],
        diverged=int(found.diverged.sum()),
        median=found.median,
    )


def curve_rows(validation: Validation, found: Evaluation, loss: float, seconds: float) -> list[dict[str, Any]]:
    """Return the rows of `curve.csv`: of training since the previous validation, with its mean loss; of meta-val."""
    common = {"iteration": validation.iteration, "seconds": round(seconds, 3)}
    of_val = {
        **common,
        "split": "val",
        "loss": validation.loss,
        "accuracy": validation.value if found.metric is ACCURACY else None,
        "median": validation.median,
        "diverged": validation.diverged,
        **({RETURN.column: validation.value} if found.metric is RETURN else {}),
    }
    of_train = {**common, "split": "train", "loss": loss, "accuracy": None}
    return [of_train, of_val] if validation.iteration > 0 else [of_val]
