"""The row of a run: what `result.json` says and `tasks.parquet` details."""

import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun import __version__
from metarun.algorithms import Algorithm
from metarun.data.brightness import brightness
from metarun.errors import RunFailed
from metarun.evaluation.evaluate import Evaluation, adaptation_ms, evaluate, judge
from metarun.evaluation.floor import floor
from metarun.evaluation.transduction import audit, check_predictions, is_transductive
from metarun.results import provenance as environment
from metarun.results.metrics import METRICS, MSE
from metarun.results.record_schema import LARGEST
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95
from metarun.runner.components import Parts
from metarun.tasks.stream import TaskStream
from metarun.tasks.validation import check_tasks
from metarun.training.loop import Progress
from metarun.training.ways_check import TASKS, check_ways

log = logging.getLogger(__name__)

AUDITED_TASKS = 20  # each costs as many adaptations as it has queries
ROUNDING = 1e-6  # of a mean of float32 probabilities

# What a row of `metarun test` takes over from the row of the run it tests.
TRAINED_KEYS = (
    *("algo", "data", "backbone", "way", "shot", "query", "seed", "train_way", "train_shot", "train_query"),
    *(metric.val for metric in METRICS),
    *("best_iteration", "iterations", "train_seconds", "norm", "order", "parameters"),
    *("val_diverged", "train_loss_first", "train_loss_last", "training_status", "training_diverged_at"),
    *("example_shape", "example_mean", "example_sd"),
)


def describe_training(parts: Parts, progress: Progress) -> Record:
    """What the row says of the run up to its checkpoint."""
    config = parts.config
    chosen, task, train = config["chosen"], config["task"], config["train"]
    losses = [row["loss"] for row in progress.curve if row["split"] == "train"]
    return {
        "algo": chosen["algo"],
        "data": chosen["data"],
        "backbone": chosen["backbone"],
        "way": task["way"],
        "shot": task["shot"],
        "query": task["query"],
        "seed": config["seed"],
        "train_way": train["way"],
        "train_shot": train["shot"],
        "train_query": train["query"],
        parts.metric.val: progress.best_value,
        "val_diverged": max((row.get("diverged") or 0 for row in progress.curve), default=0),
        "train_loss_first": losses[0] if losses else None,
        "train_loss_last": losses[-1] if losses else None,
        "best_iteration": progress.best_iteration,
        "iterations": progress.iteration,
        "train_seconds": round(progress.seconds, 3),
        "norm": config["backbone"].get("norm"),
        "order": parts.algorithm.order,
        "parameters": sum(parameter.numel() for parameter in parts.algorithm.parameters()),
        "example_shape": list(parts.source.example_shape),
        **_brightness(parts),
        **({"published": config["published"]} if config.get("published") else {}),
    }


def _brightness(parts: Parts) -> Record:
    """What the row says of how bright the pictures of meta-train are; nothing where examples are none."""
    splits = parts.source.splits
    found = brightness(splits["train"]) if splits else None
    return {} if found is None else {"example_mean": found[0], "example_sd": found[1]}


def describe_test(
    algorithm: Algorithm,
    stream: TaskStream,
    tasks: int,
    steps: int,
    features: dict[str, Tensor],
    judged: Callable[[int, int], None],
    pause: Callable[[], None],
) -> tuple[Record, Evaluation]:
    """Judge a checkpoint on meta-test tasks; return what the row says of that, and every task's figures.

    Args:
        algorithm: with the checkpoint loaded.
        stream: the tasks.
        tasks: how many of them.
        steps: of adaptation, for methods that take steps.
        features: of splits that its network has embedded, by the split's identity; what is embedded is added.
        judged: told how many of how many tasks are done.
        pause: called now and then; raises when the user wants to stop.

    Raises:
        UserError: the tasks, or how queries are predicted, can make no honest figure.
        RunFailed: all tasks diverged, or a figure cannot be one.
    """
    check_tasks(stream, tasks)
    check_ways(algorithm, stream.draw(0, TASKS), steps, learns=False)
    check_predictions(algorithm, stream, steps)
    started = time.perf_counter()
    found = evaluate(algorithm, stream, tasks, steps, judged, features)
    seconds = time.perf_counter() - started
    _check_diverged(found)
    _check_figures(found)
    record: Record = {
        "test_way": stream.shape.way,
        "test_shot": stream.shape.shot,
        "test_query": stream.shape.query,
        "test_tasks": tasks,
        **_figures(found, judge(floor, stream, tasks, judged), stream.shape.way),
        "steps": len(found.loss) - 1,
        "steps_asked": steps,
        "diverged": int(found.diverged.sum()),
        "transductive": is_transductive(algorithm, stream, steps, pause, did_not_diverge(found)[0]),
        "test_seconds": round(seconds, 3),
        "tasks_per_second": round(tasks / seconds, 3),
        "adapt_ms": round(adaptation_ms(algorithm, stream, steps, pause), 3),
        "stream_hash": stream.hash(tasks),
    }
    return record, found


def describe_conditions(parts: Parts) -> Record:
    """Return what the row says of that on which and by which a checkpoint was tested, after it was."""
    config, test = parts.config, parts.config["test"]
    return {
        "test_data": config["chosen"]["data"],
        "test_seed": test["seed"],
        "interval": test.get("interval", "closed"),
        "peak_memory_mb": round(_peak_memory_mb(parts.device), 1),
        "device": str(parts.device),
        "precision": config["precision"],
        "tf32": config.get("tf32", False),
        "deterministic": config.get("deterministic", False),
        "data_hash": parts.data_hash,
        **_equal_examples(parts),
        "version": __version__,
        "commit": environment.commit(),
    }


def _check_diverged(found: Evaluation) -> None:
    """Say how many tasks diverged; raise a RunFailed where all did."""
    steps, (tasks, diverged) = len(found.loss) - 1, (len(found.diverged), int(found.diverged.sum()))
    remedy = "lower `test.steps` or `algo.inner_lr`" if steps else "lower `train.outer_lr`"
    if diverged == tasks:
        raise RunFailed(f"all {tasks:,} meta-test tasks diverged by step {steps}; {remedy}.")
    if diverged:
        told = f"{diverged:,} of {tasks:,} meta-test tasks diverged by step {steps}"
        log.warning("%s; %s", told, remedy)


def did_not_diverge(found: Evaluation) -> list[int]:
    """Return the numbers of the tasks that did not."""
    return (~found.diverged).nonzero()[:, 0].tolist()


def _check_figures(found: Evaluation) -> None:
    """Raise a RunFailed for an accuracy or a confidence outside of [0, 1], NaN included, whose loss is a number."""
    for name, figures in found.values.items():
        if name != "loss" and (wrong := int((~((figures >= 0) & (figures <= 1 + ROUNDING))).any(0).sum())):
            raise RunFailed(
                f"the {name} of {wrong} of {figures.shape[1]} meta-test tasks is not between 0 and 1: the code that "
                "measures it is wrong, and no row is written."
            )


def _equal_examples(parts: Parts) -> Record:
    """What the row says of equal examples; nothing in regression."""
    found = parts.duplicates
    if found is None:
        return {}
    within = found.across_classes + found.within_a_class
    return {
        "duplicates_across_splits": found.across_splits,
        "duplicates_within_splits": within,
        "duplicates_across_classes": found.across_classes,
    }


def describe_audit(
    algorithm: Algorithm,
    stream: TaskStream,
    tasks: Sequence[int],
    steps: int,
    audited: Callable[[int, int], None],
    transductive: bool,
) -> Record:
    """Return what the row says after every query of some meta-test tasks was predicted by itself.

    Args:
        algorithm: with the checkpoint loaded.
        stream: the tasks.
        tasks: the numbers of those that did not diverge.
        steps: of adaptation.
        audited: told how many of how many tasks are done; raises when the user wants to stop.
        transductive: what a few queries of one task said; where the audit says otherwise, a single change is enough.
    """
    found = audit(algorithm, stream, steps, tasks[:AUDITED_TASKS], audited)
    if (found.changed > 0) != transductive:
        log.warning(
            "the audit disagrees with what a few queries said: %s of %s predictions change in company, and the row of "
            "this checkpoint says transductive: %s",
            f"{found.changed:,}",
            f"{found.queries:,}",
            "yes" if transductive else "no",
        )
    return {"transductive": transductive or found.changed > 0, "audit": asdict(found)}


def _figures(found: Evaluation, floor_found: Evaluation, way: int) -> Record:
    """Means over the tasks, with the interval of the one that counts; losses without those that diverged."""
    metric = found.metric
    mean, half = mean_and_ci95(found.headline.numpy())
    figures: Record = {metric.key: mean, metric.ci95: half}
    if metric is MSE:
        figures |= {metric.by_step: found.loss_by_step, metric.median: found.median}
    else:
        by_step = [mean_and_ci95(values)[0] for values in found.values[metric.column].numpy()]
        figures |= {metric.by_step: by_step, "loss_by_step": found.loss_by_step, "chance": 1 / way}
    return {**figures, metric.floor: _floor(found, floor_found)}


def _floor(found: Evaluation, floor_found: Evaluation) -> float | None:
    """Return the floor's mean over the tasks that the figure beside it is a mean of; None: of none."""
    last = floor_found.values[found.metric.column][-1]
    if found.metric is MSE:
        last = last[~(found.diverged | floor_found.diverged)]
    return float(last.double().mean()) if len(last) else None


def task_columns(found: Evaluation) -> dict[str, NDArray[Any]]:
    """Return the columns of `tasks.parquet`: one row per meta-test task and adaptation step.

    A loss that is no number, or none below `LARGEST`, is NaN here and missing in the file.
    """
    steps, tasks = found.loss.shape
    loss = found.loss.double()
    columns = {
        "task": torch.arange(tasks).repeat(steps).numpy(),
        "step": torch.arange(steps).repeat_interleave(tasks).numpy(),
        "loss": loss.masked_fill(~(loss < LARGEST), math.nan).flatten().numpy(),
    }
    if "accuracy" in found.values:
        columns["accuracy"] = found.values["accuracy"].flatten().numpy()
        columns["nll"] = columns["loss"]
        columns["confidence"] = found.values["confidence"].flatten().double().numpy()
    return columns


def _peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far: the GPU's where one is used, else this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB here
