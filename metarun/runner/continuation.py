"""Continue a shorter run of the same config from its last checkpoint."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from typing import Any

from metarun.algorithms import Method
from metarun.config.run_id import run_id
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.components import Parts
from metarun.system.events import emit
from metarun.system.parsing import parse_yaml
from metarun.training import checkpoint
from metarun.training.loop import Training
from metarun.training.resume import restore_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShorterRun:
    """A finished run of the same config with a smaller `train.iterations`.

    Attributes:
        run: its directory.
        record: its row.
        steps: its `train.iterations`.
    """

    run: RunDirectory
    record: Record
    steps: int


def continue_shorter(run: RunDirectory, parts: Parts, training: Training) -> ShorterRun | None:
    """Restore a training from the end of its longest shorter run; log this, or why it is not possible.

    Args:
        run: the longer run.
        parts: of it.
        training: at its start; unchanged if no run can be continued.
    """
    dependence = length_dependence(parts.config, training.algorithm)
    for shorter in _shorter_runs(run, parts.config):
        name, steps = shorter.run.path.name, f"{shorter.steps:,}"
        if dependence is not None:
            log.info("%s trained %s steps of this config, but %s; training from the start", name, steps, dependence)
            return None
        reason = _reason_against(shorter, parts) or _restore(shorter, training)
        if reason is None:
            message = f"continuing from step {steps} of {name}, which is the same training up to there"
            log.info("%s", message)
            emit("resumed", said=message)
            return shorter
        log.info("%s is a shorter run of this config but cannot be continued: %s", name, reason)
    return None


def _shorter_runs(run: RunDirectory, config: Config) -> Iterator[ShorterRun]:
    """Yield finished shorter runs, longest first. They are identified by their ids, not by their stored configs."""
    iterations = config["train"]["iterations"]
    if iterations is None:
        return
    prefix = run.path.name.rpartition("-")[0]
    others = [RunDirectory(path) for path in sorted(run.path.parent.glob(f"{escape(prefix)}-*")) if path != run.path]
    lengths = [(_iterations(other), other.id) for other in others]
    for steps in sorted({steps for steps, _ in lengths if 0 < steps < iterations}, reverse=True):
        expected = run_id({**config, "train": {**config["train"], "iterations": steps}})
        if (steps, expected) in lengths:
            other = RunDirectory(run.path.with_name(f"{prefix}-{expected}"))
            if (record := other.read_result()) is not None:
                yield ShorterRun(other, record, steps)


def _iterations(run: RunDirectory) -> int:
    """Return the `train.iterations` of a finished run; 0 if unknown."""
    try:
        record = run.read_result()
        if record is None:
            return 0
        if record["status"] == "done":
            return 0 if "trained_by" in record else int(record["iterations"])
        found: Any = parse_yaml(run.config.read_bytes())  # a failed run
        steps = found["train"]["iterations"]
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return 0
    return steps if type(steps) is int else 0


def length_dependence(config: Config, algorithm: Method) -> str | None:
    """Return why the steps of this training depend on its length; None if they do not."""
    train = config["train"]
    if train["lr_schedule"] != "step":
        return f"train.lr_schedule={train['lr_schedule']} depends on the length of the training"
    if train["time_budget"] is not None:
        return f"train.time_budget={train['time_budget']} depends on time"
    if type(algorithm).on_step is not Method.on_step:
        return f"{type(algorithm).__name__} depends on the length of the training"
    return None


def _reason_against(shorter: ShorterRun, parts: Parts) -> str | None:
    """Return why this run cannot be continued; None if it can."""
    every = parts.config["train"]["validate_every"]
    if shorter.record["status"] != "done":
        return f"it failed ({shorter.record['reason'].rstrip('.')})"
    if shorter.steps % every:
        return f"it validated at step {shorter.steps:,}, which is not a multiple of train.validate_every={every}"
    if shorter.record.get("data_hash") != parts.source.hash:
        return "it was trained on different data"
    return None


def _restore(shorter: ShorterRun, training: Training) -> str | None:
    """Restore the training from the end of the shorter run; if that fails, reset it and return the reason."""
    start = checkpoint.snapshot(training.state())
    try:
        state = checkpoint.load(shorter.run.last, shorter.run.id)
        restore_checkpoint(training, state, shorter.run.last)
        ended = (training.progress.iteration, training.progress.validated_at) == (shorter.steps, shorter.steps)
        same_blocks = state.get("compiled", False) == start["compiled"]
    except UserError as error:
        reason = error.problem
    else:
        if ended and same_blocks:
            return None
        reason = f"{shorter.run.last} is not from its last step" if same_blocks else "train.compile rounds differently"
    training.restore(start)
    return reason
