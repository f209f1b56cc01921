"""One run, from its config to its row: config → objects → meta-train → meta-test → results."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.config.compose import resolve, stored_yaml
from metarun.config.run_id import run_id, seedless_id, with_absolute_paths
from metarun.config.schema import Config
from metarun.errors import TrainingDiverged
from metarun.evaluation.transduction import check_predictions
from metarun.loggers import Logbook, LoggedRun, hyperparameters
from metarun.loggers.terminal import Screen
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.components import Parts
from metarun.runner.continuation import continue_shorter
from metarun.runner.execution import meta_test, once, surroundings
from metarun.runner.finished import directory_of
from metarun.runner.memory_check import check_room_for_tasks
from metarun.runner.record import describe_training
from metarun.system.determinism import switched
from metarun.system.memory import keep_freed_memory
from metarun.system.signals import deferred_signals
from metarun.tasks.stream import TaskStream
from metarun.tasks.validation import check_tasks
from metarun.training.distributed import Ranks, joined
from metarun.training.gradient_check import check_order
from metarun.training.loop import Training
from metarun.training.resume import go_on, meta_train, stopping_together
from metarun.training.ways_check import TASKS, check_ways

log = logging.getLogger(__name__)


def train(config: DictConfig) -> Path:
    """Meta-train, choose on meta-val, meta-test once and write the row; or show the row that is there already.

    Of several processes that torchrun started the first does so; the others share the meta-training.

    Returns:
        The run's directory.

    Raises:
        UserError: the config asks for what cannot be done.
        RunFailed: the training diverged, now or in an earlier try.
        Interrupted: a signal came; what is needed to go on is saved.
    """
    resolved = resolve(config)
    run = directory_of(resolved, run_id(resolved))
    with joined() as ranks:
        try:
            if ranks.first:
                once(run, resolved, lambda run, console: _train(run, resolved, console, ranks))
                ranks.from_first(None)  # nothing is left to help with
            else:
                _help_to_train(resolved, ranks)
        except TrainingDiverged:
            ranks.from_first(None)  # torchrun ends all when one ends, and the first has yet to write
            raise
    return run.path


def _train(run: RunDirectory, config: Config, console: Console, ranks: Ranks) -> Record:
    parts = Parts(config)
    training = _training(parts, ranks)
    tasks, _ = parts.judging  # refused now, not after the training
    if tasks < config["test"]["tasks"]:
        log.info("there are %s meta-test tasks without an example in two", f"{tasks:,}")
    if ranks.count > 1:
        log.info("each meta-batch is split among %d processes", ranks.count)
    logbook = Logbook(parts.loggers, parts.metric)
    run.start(stored_yaml(with_absolute_paths(config), "train"), anew=config["force"])
    screen = Screen(console, parts.metric)

    def close() -> None:
        screen.close()
        logbook.interrupt()

    with deferred_signals(close) as interruption:
        logged_until = _begin_or_go_on(run, parts, training)
        ranks.from_first(training.state())
        logged = LoggedRun(run.path, run.id, Path(config["results_dir"]), logged_until, hyperparameters(config))
        with logbook.open_for(logged):
            try:
                meta_train(run, training, screen, logbook, interruption)
            except TrainingDiverged as failure:
                failure.trained = _up_to_the_checkpoint(parts, training, failure.step)
                raise
            trained = _trained(parts, training)
            parts.algorithm.load_state_dict(training.best)
            record = meta_test(run, run, parts, trained, screen, interruption)
            logbook.on_test(record)
            return record


def _begin_or_go_on(run: RunDirectory, parts: Parts, training: Training) -> int:
    """Bring a training to where it was stopped, or a shorter run of it ended; return up to which step it is logged."""
    go_on(run, training)
    step = training.progress.iteration
    begins = step == 0 and not parts.config["force"]
    shorter = continue_shorter(run, parts.config, training, parts.data_hash) if begins else None
    if shorter is None:
        run.record_environment(surroundings(parts), resumed=step > 0)
    else:
        run.record_continuation(surroundings(parts), shorter.run, shorter.steps)
    return step


def _trained(parts: Parts, training: Training) -> Record:
    return {"seedless_id": seedless_id(parts.config), **describe_training(parts, training.progress)}


def _up_to_the_checkpoint(parts: Parts, training: Training, diverged_at: int) -> Record:
    """What the row of a training that diverged says of what can still be judged; nothing where there is nothing."""
    if training.progress.best_value is None:
        return {}
    return {**_trained(parts, training), "training_status": "diverged", "training_diverged_at": diverged_at}


def _training(parts: Parts, ranks: Ranks) -> Training:
    """Make ready the training that a config asks for; refuse what cannot be done."""
    train, seed, shape = parts.config["train"], parts.config["seed"], parts.train_shape
    train_stream = parts.stream("train", shape, seed)
    val_stream = parts.stream("val", parts.test_shape, parts.config["test"]["seed"])
    check_room_for_tasks(ranks.share_of(train["meta_batch"])[1], shape, parts.source.inputs)
    parts.check_head(shape)
    parts.check_head(parts.test_shape)
    check_ways(parts.algorithm, train_stream.draw(0, TASKS), parts.config["test"]["steps"], learns=True)
    if parts.algorithm.order is not None:
        check_order(parts.algorithm, train_stream.draw(0, 1))
    _check_honest(parts, train_stream, val_stream)
    return Training(parts.algorithm, parts.schedule, train_stream, val_stream, seed, ranks)


def _check_honest(parts: Parts, *streams: TaskStream) -> None:
    """Refuse data, tasks or a method of which no figure could be trusted."""
    parts.check_examples()
    for stream in (*streams, parts.test_stream):
        check_tasks(stream)
    check_predictions(parts.algorithm, parts.test_stream, parts.config["test"]["steps"])


def _help_to_train(config: Config, ranks: Ranks) -> None:
    """Do this process's share of every meta-batch; the first process has all the rest to do, such as writing."""
    keep_freed_memory()
    with switched(config["deterministic"], config["tf32"]):
        training = _training(Parts(config), ranks)
        while (state := ranks.from_first(None)) is not None:
            training.restore(state)
            with deferred_signals() as interruption:
                training.run(_nothing, [], stopping_together(interruption, ranks))


def _nothing() -> None:
    """The first process has done it."""
