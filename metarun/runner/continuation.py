"""A shorter run that is the beginning of a longer one: its last checkpoint, where the longer one can go on from it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from typing import Any

from metarun.algorithms import Algorithm
from metarun.config.run_id import run_id
from metarun.config.schema import Config
from metarun.errors import UserError
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.system.events import emit
from metarun.system.parsing import parse_yaml
from metarun.training import checkpoint
from metarun.training.loop import Training
from metarun.training.resume import take_up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shorter:
    """A run that is over, of the config at hand but for a smaller `train.iterations`.

    Attributes:
        run: its directory.
        record: its row.
        steps: its `train.iterations`.
    """

    run: RunDirectory
    record: Record
    steps: int


def continue_shorter(run: RunDirectory, config: Config, training: Training, data_hash: str) -> Shorter | None:
    """Bring a training to where the longest shorter run of it ended; say so, or why that cannot be.

    Args:
        run: the one that is to be made.
        config: its resolved config.
        training: at its start; it stays there where there is no such run, or one whose training is not the same.
        data_hash: of the examples.
    """
    depends = what_it_depends_on(config, training.algorithm)
    for shorter in _shorter_runs(run, config):
        name, steps = shorter.run.path.name, f"{shorter.steps:,}"
        if depends is not None:
            log.info("%s trained %s steps of this, but %s: training from the start", name, steps, depends)
            return None
        reason = _why_not(shorter, config, data_hash) or _restore(shorter, training)
        if reason is None:
            said = f"continuing from step {steps} of {name}, whose training is the same up to there"
            log.info("%s", said)
            emit("resumed", said=said)
            return shorter
        log.info("%s is a shorter run of this, but cannot be continued: %s", name, reason)
    return None


def _shorter_runs(run: RunDirectory, config: Config) -> Iterator[Shorter]:
    """Yield those that are over, the longest first. Whose they are their ids say, which no stored config can feign."""
    iterations = config["train"]["iterations"]
    if iterations is None:
        return
    prefix = run.path.name.rpartition("-")[0]
    there = [RunDirectory(path) for path in sorted(run.path.parent.glob(f"{escape(prefix)}-*")) if path != run.path]
    counted = [(_iterations(other), other.id) for other in there]
    for steps in sorted({steps for steps, _ in counted if 0 < steps < iterations}, reverse=True):
        wanted = run_id({**config, "train": {**config["train"], "iterations": steps}})
        if (steps, wanted) in counted:
            other = RunDirectory(run.path.with_name(f"{prefix}-{wanted}"))
            if (record := other.read_result()) is not None:
                yield Shorter(other, record, steps)


def _iterations(run: RunDirectory) -> int:
    """Return how many steps a run that is over says that it was to take; 0 where it says nothing that is of use."""
    try:
        record = run.read_result()
        if record is None:
            return 0
        if record["status"] == "done":
            return 0 if "trained_by" in record else int(record["iterations"])
        found: Any = parse_yaml(run.config.read_bytes())  # it failed on its way
        steps = found["train"]["iterations"]
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return 0
    return steps if type(steps) is int else 0


def what_it_depends_on(config: Config, algorithm: Algorithm) -> str | None:
    """Return what makes each step of a training another one where more are to come; None: nothing."""
    train = config["train"]
    if train["lr_schedule"] != "step":
        return f"train.lr_schedule={train['lr_schedule']} depends on the end"
    if train["time_budget"] is not None:
        return f"train.time_budget={train['time_budget']} depends on the clock"
    if type(algorithm).on_step is not Algorithm.on_step:
        return f"{type(algorithm).__name__} depends on how much of the training is over"
    return None


def _why_not(shorter: Shorter, config: Config, data_hash: str) -> str | None:
    """Return what keeps this run from being the beginning of the longer one; None: nothing."""
    every = config["train"]["validate_every"]
    if shorter.record["status"] != "done":
        return f"it failed ({shorter.record['reason'].rstrip('.')})"
    if shorter.steps % every:
        return (
            f"it looked at meta-val at step {shorter.steps:,}, which is not on the beat of train.validate_every={every}"
        )
    if shorter.record.get("data_hash") != data_hash:
        return "its data were others than those there are now"
    return None


def _restore(shorter: Shorter, training: Training) -> str | None:
    """Bring the training to the end of the shorter one; return why that cannot be, which leaves it at its start."""
    start = checkpoint.snapshot(training.state())
    try:
        state = checkpoint.load(shorter.run.last, shorter.run.id)
        take_up(training, state, shorter.run.last)
        ended = (training.progress.iteration, training.progress.validated_at) == (shorter.steps, shorter.steps)
    except UserError as error:
        reason = error.problem
    else:
        if ended:
            return None
        reason = f"{shorter.run.last} is not of its last step"
    training.restore(start)
    return reason
