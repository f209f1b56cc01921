"""Compute the record of a run: `result.json` and `tasks.parquet`."""

import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from metarun.backbones.encoders import may_know_classes
from metarun.config.key_origins import overridden_keys
from metarun.data.pictures.brightness import brightness
from metarun.errors import RunFailed, UserError
from metarun.evaluation.calibration import describe_distribution
from metarun.evaluation.evaluate import Evaluation, adaptation_ms, evaluate, evaluate_predictions
from metarun.evaluation.floor import evaluate_floor
from metarun.evaluation.ridge import choose_rate, predict_by_ridge
from metarun.evaluation.transduction import audit, check_predictions, is_transductive
from metarun.results import provenance
from metarun.results.metrics import METRICS, MSE, RIDGE_FLOOR
from metarun.results.record_schema import LARGEST
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95
from metarun.runner.components import TASK_KEYS, Parts
from metarun.runner.probability_records import describe_probabilities
from metarun.runner.set_records import describe_sets
from metarun.system.load import load_per_cpu
from metarun.system.progress import OnProgress
from metarun.system.version import __version__
from metarun.tasks.batch import TaskBatch
from metarun.tasks.stream import TaskStream
from metarun.tasks.validation import check_tasks
from metarun.tasks.varying_stream import by_shape, like_first, size_texts
from metarun.training.execution_check import TASKS, check_execution
from metarun.training.progress import Progress

log = logging.getLogger(__name__)

AUDITED_TASKS = 20  # each takes one adaptation per query
ROUNDING = 1e-6  # for a mean of float32 probabilities

SHAPE_KEYS = ("way", "shot", "query", *TASK_KEYS)  # of `task` and `train`

# Keys that a record of `metarun test` copies from the tested run.
TRAINED_KEYS = (
    *("algo", "data", "backbone", *SHAPE_KEYS, "seed", *(f"train_{key}" for key in SHAPE_KEYS)),
    *(metric.val for metric in METRICS),
    *("best_iteration", "iterations", "train_seconds", "rollout_share", "norm", "order", "parameters"),
    *("val_diverged", "train_loss_first", "train_loss_last", "training_status", "training_diverged_at"),
    *("example_shape", "example_mean", "example_sd", "overrides", "train_labels"),
)


def describe_training(parts: Parts, progress: Progress) -> Record:
    """Return the record's keys about training."""
    config = parts.config
    chosen, task, train = config["chosen"], config["task"], config["train"]
    losses = [row["loss"] for row in progress.curve if row["split"] == "train"]
    return {
        "algo": chosen["algo"],
        "data": chosen["data"],
        "backbone": chosen["backbone"],
        **{key: task.get(key) for key in SHAPE_KEYS},
        "seed": config["seed"],
        **{f"train_{key}": train.get(key) for key in SHAPE_KEYS},
        **({"train_labels": labels} if (labels := parts.labels) != "classes" else {}),
        parts.metric.val: progress.best_value,
        "val_diverged": max((row.get("diverged") or 0 for row in progress.curve), default=0),
        "train_loss_first": losses[0] if losses else None,
        "train_loss_last": losses[-1] if losses else None,
        "best_iteration": progress.best_iteration,
        "iterations": progress.iteration,
        "train_seconds": round(progress.seconds, 3),
        **({"rollout_share": round(progress.rollout_seconds / took, 3)} if (took := progress.step_seconds) else {}),
        "norm": config["backbone"].get("norm"),
        "order": parts.method.order,
        "parameters": sum(parameter.numel() for parameter in parts.method.parameters()),
        "example_shape": list(parts.source.example_shape),
        **_brightness(parts),
        "overrides": overridden_keys(),
        **({"published": config["published"]} if config.get("published") else {}),
    }


def _brightness(parts: Parts) -> Record:
    """Return the brightness of the meta-train pictures; empty if examples are not pictures."""
    splits = parts.raw.splits
    found = brightness(splits["train"]) if splits else None
    return {} if found is None else {"example_mean": found[0], "example_sd": found[1]}


def describe_test(
    parts: Parts, on_progress: OnProgress, check_interrupt: Callable[[], None]
) -> tuple[Record, Evaluation]:
    """Evaluate a checkpoint on meta-test tasks; return the record's keys about it, and the values of each task.

    Args:
        parts: of the run, with the checkpoint loaded.
        on_progress: called with the number of tasks done and the total.
        check_interrupt: called regularly; raises when the user wants to stop.

    Raises:
        UserError: the tasks or the predictions are invalid.
        RunFailed: all tasks diverged, or a value is invalid.
    """
    algorithm, stream, (tasks, steps) = parts.algorithm, parts.test_stream, parts.test_size
    check_tasks(stream, tasks)
    of_one_shape = by_shape(stream, tasks)
    check_execution(algorithm, like_first(stream, TASKS), steps, learns=False)
    check_predictions(algorithm, stream, steps)
    started = time.perf_counter()
    found = evaluate(algorithm, stream, tasks, steps, on_progress, parts.features)
    seconds = time.perf_counter() - started
    check_diverged(found)
    _check_values(found)
    floor_found = evaluate_floor(stream, tasks, on_progress)
    way, shot = size_texts(stream)
    ms = adaptation_ms(algorithm, stream, steps, check_interrupt)
    record: Record = {
        "test_way": way,
        "test_shot": shot,
        "test_query": stream.shape.query,
        **{f"test_{key}": getattr(stream.shape, key) for key in TASK_KEYS},
        "test_tasks": tasks,
        **_figures(found, floor_found, _chance(of_one_shape)),
        **(describe_sets(found, floor_found, stream, tasks) or describe_probabilities(found)),
        **describe_distribution(algorithm, stream, tasks, found.diverged),
        **describe_steps(found, steps),
        "transductive": is_transductive(algorithm, stream, steps, check_interrupt, finite_tasks(found)[0]),
        **describe_speed(tasks, seconds, ms),
        "stream_hash": stream.hash(tasks),
    }
    return record, found


def describe_steps(found: Evaluation, asked: int) -> Record:
    """Return the record's keys about the adaptation steps that were taken, of how many that were asked for."""
    return {"steps": len(found.loss) - 1, "steps_asked": asked, "diverged": int(found.diverged.sum())}


def describe_speed(tasks: int, seconds: float, adaptation: tuple[float, float]) -> Record:
    """Return the record's keys about speed.

    Args:
        tasks: how many were evaluated.
        seconds: that it took.
        adaptation: the milliseconds of one adaptation, wall time and CPU time.
    """
    wall, cpu = adaptation
    return {
        "test_seconds": round(seconds, 3),
        "tasks_per_second": round(tasks / seconds, 3),
        "adapt_ms": round(wall, 3),
        "adapt_cpu_ms": round(cpu, 3),
        "load": round(load_per_cpu(), 2),
    }


def describe_ridge(parts: Parts, found: Evaluation, on_progress: OnProgress) -> Record:
    """Return the second floor of regression, whose rate is chosen on meta-val; nothing in classification.

    Args:
        parts: of the run.
        found: the figures of the checkpoint on meta-test.
        on_progress: as of `describe_test`.
    """
    if found.metric is not MSE or len(parts.source.inputs) > 1:
        return {}
    try:
        val_stream = parts.stream("val", parts.test_shape, parts.config["test"]["seed"])
    except UserError as error:  # a test of other sizes than those of training
        log.warning("no ridge floor, since its rate is chosen on meta-val: %s", error)
        return {}
    rate = choose_rate(val_stream)

    def predict(batch: TaskBatch) -> Tensor:
        return predict_by_ridge(batch, rate)

    floor_found = evaluate_predictions(predict, parts.test_stream, parts.test_size[0], on_progress)
    return {RIDGE_FLOOR: _floor(found, floor_found), "floor_ridge_rate": rate}


def describe_conditions(parts: Parts) -> Record:
    """Return the record's keys about the conditions of a test, after the test."""
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
        "data_hash": parts.source.hash,
        **_encoder(parts),
        **({"floor_inputs": vectors} if (vectors := parts.source.display().vectors) else {}),
        **_duplicates(parts),
        "version": __version__,
        "commit": provenance.commit(),
    }


def _encoder(parts: Parts) -> Record:
    """Return the record's keys about a pre-trained encoder; empty if there is none."""
    encoder = parts.encoder
    if encoder is not None:
        overlap = " (may include these classes)" if may_know_classes(encoder, parts.raw.name) else ""
        return {"external_data": f"{encoder.saw}{overlap}", "encoder_hash": encoder.hash}
    saw = getattr(getattr(parts.method, "backbone", None), "saw", None)  # of a language model
    return {} if saw is None else {"external_data": saw}


def check_diverged(found: Evaluation) -> None:
    """Warn if tasks diverged; raise RunFailed if all did."""
    steps, (tasks, diverged) = len(found.loss) - 1, (len(found.diverged), int(found.diverged.sum()))
    remedy = "lower `test.steps` or `algo.inner_lr`" if steps else "lower `train.outer_lr`"
    if diverged == tasks:
        raise RunFailed(f"all {tasks:,} meta-test tasks diverged by step {steps}; {remedy}.")
    if diverged:
        log.warning("%s of %s meta-test tasks diverged by step %d; %s", f"{diverged:,}", f"{tasks:,}", steps, remedy)


def finite_tasks(found: Evaluation) -> list[int]:
    """Return the numbers of the tasks that did not diverge."""
    return (~found.diverged).nonzero()[:, 0].tolist()


def _check_values(found: Evaluation) -> None:
    """Raise RunFailed for an accuracy or confidence that is not in [0, 1]."""
    for name, values in found.values.items():
        if name != "loss" and (wrong := int((~((values >= 0) & (values <= 1 + ROUNDING))).any(0).sum())):
            raise RunFailed(
                f"the {name} of {wrong} of {values.shape[1]} meta-test tasks is not between 0 and 1; fix the code that "
                "computes it."
            )


def _duplicates(parts: Parts) -> Record:
    """Return the record's keys about duplicates; empty in regression."""
    found = parts.duplicates
    if found is None:
        return {}
    within = found.across_classes + found.within_a_class
    return {
        "duplicates_across_splits": found.across_splits,
        "duplicates_within_splits": within,
        "duplicates_across_classes": found.across_classes,
    }


def describe_audit(parts: Parts, tasks: Sequence[int], transductive: bool, on_progress: OnProgress) -> Record:
    """Return the record's keys about the audit, which predicts every query of some meta-test tasks alone.

    Args:
        parts: of the run, with the checkpoint loaded.
        tasks: the numbers of those that did not diverge.
        transductive: the result of `is_transductive`; one changed prediction in the audit also counts.
        on_progress: called with the number of tasks done and the total; raises when the user wants to stop.
    """
    found = audit(parts.algorithm, parts.test_stream, parts.test_size[1], tasks[:AUDITED_TASKS], on_progress)
    if (found.changed > 0) != transductive:
        log.warning(
            "the audit disagrees with the check of a few queries: %s of %s predictions depend on the other queries, "
            "but the check said transductive: %s",
            f"{found.changed:,}",
            f"{found.queries:,}",
            "yes" if transductive else "no",
        )
    return {"transductive": transductive or found.changed > 0, "audit": asdict(found)}


def _chance(of_one_shape: Sequence[tuple[TaskStream, Tensor]]) -> float:
    """Return the mean over tasks of 1 / way."""
    ways = {part.shape.way for part, _ in of_one_shape}
    if len(ways) == 1:
        return 1 / ways.pop()
    return sum(len(n) / part.shape.way for part, n in of_one_shape) / sum(len(n) for _, n in of_one_shape)


def _figures(found: Evaluation, floor_found: Evaluation, chance: float) -> Record:
    """Return the means over tasks, with the metric's interval; losses exclude tasks that diverged."""
    metric = found.metric
    mean, half = mean_and_ci95(found.headline.numpy())
    figures: Record = {metric.key: mean, metric.ci95: half}
    if metric is MSE:
        figures |= {metric.by_step: found.loss_by_step, metric.median: found.median}
    else:
        by_step = [mean_and_ci95(values)[0] for values in found.values[metric.column].numpy()]
        figures |= {metric.by_step: by_step, "loss_by_step": found.loss_by_step, "chance": chance}
    return {**figures, metric.floor: _floor(found, floor_found)}


def _floor(found: Evaluation, floor_found: Evaluation) -> float | None:
    """Return the floor's mean over the same tasks as the result; None if there are none."""
    last = floor_found.values[found.metric.column][-1]
    if found.metric is MSE:
        last = last[~(found.diverged | floor_found.diverged)]
    return float(last.double().mean()) if len(last) else None


def task_columns(found: Evaluation, more: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return the columns of `tasks.parquet`: one row per meta-test task and adaptation step.

    A loss that is not below `LARGEST` is NaN here and missing in the file.

    Args:
        found: the values of each task.
        more: further columns, (steps + 1, tasks) each.
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
    return {**columns, **{name: values.flatten().numpy() for name, values in more.items()}}


def _peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory so far: the GPU's if one is used, else this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB on Linux
