"""Save meta-training while it runs, and resume it in a later process."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarun.algorithms import Method
from metarun.config.key_origins import knob
from metarun.errors import RunFailed, TrainingDiverged, UserError, reason_of
from metarun.loggers import Logbook
from metarun.loggers.terminal import Screen
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.system.events import emit
from metarun.system.signals import Interruption
from metarun.training import checkpoint
from metarun.training.distributed import Ranks
from metarun.training.loop import Training

log = logging.getLogger(__name__)


def resume(run: RunDirectory, training: Training) -> None:
    """Restore the training from the run's latest checkpoint, if there is one.

    Raises:
        UserError: the checkpoint belongs to another version of the network or method.
    """
    state = checkpoint.load_newest([run.last, run.previous], run.id)
    if state is None:
        if run.last.exists() or run.previous.exists():
            log.warning("no checkpoint of this run can be used; starting over, which reproduces the same numbers")
        return
    restore_checkpoint(training, state, run.last)
    message = f"resuming from step {training.progress.iteration:,}"
    log.info("%s", message)
    emit("resumed", said=message)


def restore_checkpoint(training: Training, state: checkpoint.State, path: Path) -> None:
    """Restore a training and its number of threads from a checkpoint that was read from `path`.

    Raises:
        UserError: it belongs to another version of the network or method; the training must not be used then.
    """
    try:
        training.restore(state)
        _restore_threads(int(state["threads"]))
    except Exception as error:  # torch raises many kinds
        raise _does_not_fit(path, error) from error


def _restore_threads(threads: int) -> None:
    """Use as many threads as before, because sums split among threads are rounded differently."""
    if threads > (os.cpu_count() or 1):
        log.warning(
            "this run started with %d threads, but this machine has fewer; numbers may differ slightly", threads
        )
    elif threads != torch.get_num_threads():
        log.info("using %d threads, as before", threads)
        torch.set_num_threads(threads)


def meta_train(
    run: RunDirectory, training: Training, screen: Screen, logbook: Logbook, interruption: Interruption
) -> None:
    """Meta-train to the end; write the curve and both checkpoints.

    Raises:
        TrainingDiverged: the training loss is no longer finite; the curve and the best checkpoint so far are written.
        RunFailed: no checkpoint could be chosen on meta-val.
    """

    def write(state: checkpoint.State) -> None:
        checkpoint.save(run.last, state, backup=run.previous)
        run.write_curve(state["progress"]["curve"])

    writer = checkpoint.BackgroundWriter(write)

    def save() -> None:
        with training.state_lock:
            state = checkpoint.snapshot(training.state())
            writer.submit({"run": run.id, "threads": torch.get_num_threads(), **state})

    def save_now() -> None:
        with training.state_lock:  # so that no newer state is submitted meanwhile
            save()
            writer.finish()

    check_interrupt = shared_interrupt_check(interruption, training.ranks)
    try:
        with interruption.saving(save_now), screen.phase("training", f"meta-training {run.path.name}"):
            training.run(save, [screen, logbook], check_interrupt)
        diverged = None
    except TrainingDiverged as failure:
        diverged = failure
    writer.finish()
    _keep_chosen(run, training)
    if diverged is not None:
        if training.progress.best_value is not None:
            step = f"{training.progress.best_iteration:,}"
            log.info("the best checkpoint (step %s) is kept; `metarun test run=%s` evaluates it", step, run.id)
        raise diverged
    if training.progress.best_value is None:
        schedule, last = training.schedule, training.progress.curve[-1]["diverged"]
        knobs = [knob("test.steps", schedule.validate_steps), knob("train.outer_lr", schedule.outer_lr)]
        raise RunFailed(
            f"meta-val tasks diverged in every validation, {last:,} of {schedule.validate_tasks:,} in the last one, so "
            f"no checkpoint could be chosen; lower {'`algo.inner_lr`, ' if training.algorithm.order else ''}"
            f"{' or '.join(knobs)}."
        )


def _keep_chosen(run: RunDirectory, training: Training) -> None:
    """Write the curve, which a kill may have left behind the last checkpoint, and the best weights, if any."""
    run.write_curve(training.progress.curve)
    if training.progress.best_value is not None:
        checkpoint.save(run.best, {"run": run.id, "algorithm": training.best})


def shared_interrupt_check(interruption: Interruption, ranks: Ranks) -> Callable[[], None]:
    """Return a function that stops all processes when one of them received a signal."""

    def check() -> None:
        if number := ranks.all_max(interruption.signal or 0):
            interruption.signal = number
            interruption.check()

    return check


def best_weights(parent: RunDirectory, trained: Record) -> dict[str, Tensor]:
    """Return the best weights on meta-val, from best.pt or else last.pt.

    Raises:
        UserError: neither can be read.
    """
    try:
        return _weights(parent.best, checkpoint.load(parent.best, trained["id"]).get("algorithm"))
    except UserError as damage:
        state = checkpoint.load_newest([parent.last], trained["id"])
        if state is None:
            raise
        log.warning("%s; using the weights in %s", damage.problem, parent.last.name)
        return _weights(parent.last, state.get("best"))


def last_weights(parent: RunDirectory, trained: Record) -> dict[str, Tensor]:
    """Return the weights after the last step of a training.

    Raises:
        UserError: they cannot be read, or the training diverged before.
    """
    if "training_diverged_at" in trained:
        raise UserError(
            f"test.weights=last but {parent.path} diverged by step {trained['training_diverged_at']:,}",
            "use test.weights=best.",
        )
    return _weights(parent.last, checkpoint.load(parent.last, trained["id"]).get("algorithm"))


def _weights(path: Path, found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not all(map(_is_weight, found.values())):
        raise _does_not_fit(path, ValueError("it has no weights"))
    return found


def _is_weight(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_complex()


def load_weights(algorithm: Method, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights that were read from `path`; raise a UserError if they belong to another network."""
    try:
        algorithm.load_state_dict(weights)
    except Exception as error:  # torch raises many kinds
        raise _does_not_fit(path, error) from error


def _does_not_fit(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} does not fit this run ({reason_of(error)})",
        "was it made by another version of metarun? Run the same command with `force=true`.",
    )
