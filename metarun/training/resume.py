"""A meta-training that outlives its process: saved on its way, and gone on with by the next one."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metarun.algorithms import Algorithm
from metarun.config.keys_in_force import knob
from metarun.errors import RunFailed, TrainingDiverged, UserError
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


def go_on(run: RunDirectory, training: Training) -> None:
    """Bring the training to where the run was stopped, if it was.

    Raises:
        UserError: what is saved is of another version's network or method.
    """
    state = checkpoint.load_newest([run.last, run.previous], run.id)
    if state is None:
        if run.last.exists() or run.previous.exists():
            log.warning("no checkpoint of this run can be used: it begins anew, and comes to the same numbers")
        return
    take_up(training, state, run.last)
    said = f"resuming from step {training.progress.iteration:,}"
    log.info("%s", said)
    emit("resumed", said=said)


def take_up(training: Training, state: checkpoint.State, path: Path) -> None:
    """Let a training go on from a checkpoint that was read from `path`, with as many threads.

    Raises:
        UserError: it is of another version's network or method; the training is of no use then.
    """
    try:
        training.restore(state)
        _use_as_many_threads(int(state["threads"]))
    except Exception as error:  # torch raises many kinds for what is of another form
        raise _does_not_fit(path, error) from error


def _use_as_many_threads(threads: int) -> None:
    """Compute with as many threads as before: sums that are split among others come out a little different."""
    if threads > (os.cpu_count() or 1):
        log.warning(
            "this run was begun with %d threads, more than there are here: numbers may differ a little", threads
        )
    elif threads != torch.get_num_threads():
        log.info("going on with as many threads as before, %d", threads)
        torch.set_num_threads(threads)


def meta_train(
    run: RunDirectory, training: Training, screen: Screen, logbook: Logbook, interruption: Interruption
) -> None:
    """Meta-train from where the run stands to its end; write its curve and both checkpoints.

    Raises:
        TrainingDiverged: the training loss is no longer a number; the curve and what meta-val chose so far are written.
        RunFailed: meta-val could choose no checkpoint.
    """

    def write(state: checkpoint.State) -> None:
        checkpoint.save(run.last, state, before=run.previous)
        run.write_curve(state["progress"]["curve"])

    writer = checkpoint.InBackground(write)

    def save() -> None:
        with training.settled:
            state = checkpoint.snapshot(training.state())
            writer.give({"run": run.id, "threads": torch.get_num_threads(), **state})

    def save_now() -> None:
        with training.settled:  # so that nothing newer comes, which would be waited for
            save()
            writer.finish()

    together = stopping_together(interruption, training.ranks)
    try:
        with interruption.keeping(save_now), screen.phase("training", f"meta-training {run.path.name}"):
            training.run(save, [screen, logbook], together)
    except TrainingDiverged:
        writer.finish()
        _keep_chosen(run, training)
        if training.progress.best_value is not None:
            step = f"{training.progress.best_iteration:,}"
            log.info("the best checkpoint, of step %s, is kept: `metarun test run=%s` judges it", step, run.id)
        raise
    writer.finish()
    _keep_chosen(run, training)
    if training.progress.best_value is None:
        schedule, last = training.schedule, training.progress.curve[-1]["diverged"]
        knobs = [knob("test.steps", schedule.validate_steps), knob("train.outer_lr", schedule.outer_lr)]
        raise RunFailed(
            f"meta-val tasks diverged at every look, at the last one {last:,} of {schedule.validate_tasks:,}, so that "
            f"no checkpoint could be chosen; lower {'`algo.inner_lr`, ' if training.algorithm.order else ''}"
            f"{' or '.join(knobs)}."
        )


def _keep_chosen(run: RunDirectory, training: Training) -> None:
    """Write the curve, as a kill may have come between the last checkpoint and it, and what meta-val chose, if any."""
    run.write_curve(training.progress.curve)
    if training.progress.best_value is not None:
        checkpoint.save(run.best, {"run": run.id, "algorithm": training.best})


def stopping_together(interruption: Interruption, ranks: Ranks) -> Callable[[], None]:
    """Return what ends the work of all processes when a signal came to one of them."""

    def check() -> None:
        if number := ranks.most(interruption.signal or 0):
            interruption.signal = number
            interruption.check()

    return check


def best_weights(parent: RunDirectory, trained: Record) -> dict[str, Tensor]:
    """Return the weights that meta-val chose, from where they can be had.

    Raises:
        UserError: from nowhere.
    """
    try:
        return _weights(parent.best, checkpoint.load(parent.best, trained["id"]).get("algorithm"))
    except UserError as damage:
        state = checkpoint.load_newest([parent.last], trained["id"])
        if state is None:
            raise
        log.warning("%s; its weights are taken from %s", damage.problem, parent.last.name)
        return _weights(parent.last, state.get("best"))


def _weights(path: Path, found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not all(map(_is_weight, found.values())):
        raise _does_not_fit(path, ValueError("it has no weights"))
    return found


def _is_weight(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_complex()


def load_weights(algorithm: Algorithm, weights: dict[str, Tensor], path: Path) -> None:
    """Give an algorithm the weights that were read from `path`; a UserError where they are another network's."""
    try:
        algorithm.load_state_dict(weights)
    except Exception as error:  # torch raises many kinds for what is of another form
        raise _does_not_fit(path, error) from error


def _does_not_fit(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} does not fit this run ({' '.join(str(error).split())})",
        "was it made by another version of metarun? Run the same command with `force=true`.",
    )
