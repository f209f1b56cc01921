"""`metarun train`: build the objects of a config, meta-train, meta-test and write the results."""

import logging
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.config.compose import stored_yaml
from metarun.config.run_id import seedless_id, with_absolute_paths
from metarun.config.schema import Config
from metarun.errors import TrainingDiverged
from metarun.evaluation.transduction import check_predictions
from metarun.loggers import Logbook, LoggedRun, hyperparameters
from metarun.loggers.terminal import Screen
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.rl.stream import EnvironmentSource
from metarun.runner.compiled_blocks import choose_blocks
from metarun.runner.components import Parts
from metarun.runner.continuation import continue_shorter
from metarun.runner.cuda_graphs import find_recorder
from metarun.runner.execution import describe_environment, meta_test, run_once
from metarun.runner.finished import resolved_run
from metarun.runner.head_check import check_head
from metarun.runner.made_tasks import check_data, check_method, training_stream
from metarun.runner.memory_check import check_tasks_fit
from metarun.runner.policy_runs import make_policy_training
from metarun.runner.record import describe_training
from metarun.runner.run_inputs import write_inputs
from metarun.system.determinism import torch_settings
from metarun.system.memory import keep_freed_memory
from metarun.system.signals import deferred_signals
from metarun.tasks.augmentation import AugmentedStream, augmentations
from metarun.tasks.validation import check_tasks
from metarun.tasks.varying_stream import like_first
from metarun.training.distributed import Ranks, process_group
from metarun.training.execution_check import TASKS, check_execution
from metarun.training.gradient_check import check_order
from metarun.training.loop import Training
from metarun.training.resume import meta_train, resume, shared_interrupt_check

log = logging.getLogger(__name__)


def train(config: DictConfig) -> Path:
    """Meta-train, choose a checkpoint on meta-val, meta-test once and write the record; or show a finished run.

    With torchrun, the first process does this, and the others take part in meta-training only.

    Returns:
        The run's directory.

    Raises:
        UserError: the config is invalid.
        RunFailed: the training diverged, now or in an earlier attempt.
        Interrupted: a signal was received; the run can be resumed.
    """
    resolved, run = resolved_run(config)
    with process_group() as ranks:
        try:
            if ranks.is_first:
                run_once(run, resolved, lambda run, console: _train(run, resolved, console, ranks))
                ranks.broadcast(None)  # tells the other processes to end
            else:
                _train_as_worker(resolved, ranks)
        except TrainingDiverged:
            ranks.broadcast(None)  # torchrun ends all processes when one ends, so they wait until the first has written
            raise
    return run.path


def _train(run: RunDirectory, config: Config, console: Console, ranks: Ranks) -> Record:
    parts = Parts(config)
    training = _make_training(parts, ranks)
    tasks, _ = parts.test_size  # fail now, not after the training
    if tasks < config["test"]["tasks"]:
        log.info("only %s meta-test tasks share no example; testing on these", f"{tasks:,}")
    if ranks.world_size > 1:
        log.info("each meta-batch is split among %d processes", ranks.world_size)
    logbook = Logbook(parts.loggers, parts.metric)
    run.start(stored_yaml(with_absolute_paths(config), "train"), overwrite=config["force"])
    write_inputs(run, parts.source)
    screen = Screen(console, parts.metric)

    def close() -> None:
        screen.close()
        logbook.interrupt()

    with deferred_signals(close) as interruption:
        logged_until = _start_or_resume(run, parts, training)
        ranks.broadcast(training.state())
        logged = LoggedRun(run.path, run.id, Path(config["results_dir"]), logged_until, hyperparameters(config))
        with logbook.open_for(logged):
            try:
                meta_train(run, training, screen, logbook, interruption)
            except TrainingDiverged as failure:
                failure.trained = _checkpoint_record(parts, training, failure.step)
                raise
            trained = _training_record(parts, training)
            parts.method.load_state_dict(training.best)
            record = meta_test(run, run, parts, trained, screen, interruption)
            logbook.on_test(record)
            return record


def _start_or_resume(run: RunDirectory, parts: Parts, training: Training) -> int:
    """Resume a training, or continue a shorter run; return the step up to which this run is logged."""
    resume(run, training)
    step = training.progress.iteration
    is_new = step == 0 and not parts.config["force"]
    shorter = continue_shorter(run, parts, training) if is_new else None
    if shorter is None:
        run.record_environment(describe_environment(parts), resumed=step > 0)
    else:
        run.record_continuation(describe_environment(parts), shorter.run, shorter.steps)
    return step


def _training_record(parts: Parts, training: Training) -> Record:
    return {"seedless_id": seedless_id(parts.config), **describe_training(parts, training.progress)}


def _checkpoint_record(parts: Parts, training: Training, diverged_at: int) -> Record:
    """Return the training keys of a run that diverged after choosing a checkpoint; empty if it has none."""
    if training.progress.best_value is None:
        return {}
    return {**_training_record(parts, training), "training_status": "diverged", "training_diverged_at": diverged_at}


def _make_training(parts: Parts, ranks: Ranks) -> Training:
    """Build the training of a config; raise a UserError if it is not possible."""
    check_data(parts)
    if isinstance(parts.source, EnvironmentSource):
        find_recorder(parts.method, parts.config, parts.device)  # refuses train.cuda_graph=true
        return make_policy_training(parts, ranks)
    train, seed, shape = parts.config["train"], parts.config["seed"], parts.train_shape
    train_stream = training_stream(parts, "train", shape, seed)
    # Missing in earlier runs. Where a class is one example, they are part of the tasks.
    asked = None if parts.labels == "none" else train.get("augment")
    changes = augmentations(asked, parts.source.inputs, parts.source.name)
    val_stream = training_stream(parts, "val", parts.test_shape, parts.config["test"]["seed"])
    check_tasks_fit(ranks.share_of(train["meta_batch"])[1], shape, parts.source.inputs)
    check_head(parts, shape)
    check_head(parts, parts.test_shape)
    check_method(parts)
    recorder = find_recorder(parts.method, parts.config, parts.device)
    choose_blocks(parts.algorithm, parts.config, parts.device)
    check_execution(parts.algorithm, like_first(train_stream, TASKS), parts.config["test"]["steps"], learns=True)
    if parts.algorithm.order is not None:
        check_order(parts.algorithm, train_stream.draw(0, 1))
    parts.check_examples()
    for stream in (train_stream, val_stream, parts.test_stream):
        check_tasks(stream)
    check_predictions(parts.algorithm, parts.test_stream, parts.config["test"]["steps"])
    if changes:
        log.info("meta-training examples are augmented at random: %s", ", ".join(changes))
        train_stream = AugmentedStream(train_stream, changes, seed)
    return Training(parts.algorithm, parts.schedule, train_stream, val_stream, seed, ranks, recorder)


def _train_as_worker(config: Config, ranks: Ranks) -> None:
    """Process this rank's share of every meta-batch; the first rank does everything else."""
    keep_freed_memory()
    with torch_settings(config["deterministic"], config["tf32"]):
        training = _make_training(Parts(config), ranks)
        while (state := ranks.broadcast(None)) is not None:
            training.restore(state)
            with deferred_signals() as interruption:
                # The first process saves.
                training.run(lambda: None, [], shared_interrupt_check(interruption, ranks))
