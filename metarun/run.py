"""One run, from its config to its row: config → objects → meta-train → meta-test → results."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from metarun import checkpoint, environment, example_tasks
from metarun.algorithms import Algorithm, load_under_another_head
from metarun.config import (
    Config,
    overlaid,
    resolve,
    run_id,
    seedless_id,
    stored_yaml,
    under_another_head,
    without_algo,
)
from metarun.display import Screen, SteadyConsole, logging_to, summary
from metarun.errors import RunFailed, UserError
from metarun.interruption import Interruption, deferred_signals
from metarun.loggers import Logbook, LoggedRun, hyperparameters
from metarun.looks import note_look
from metarun.memory import keep_freed_memory, ran_out
from metarun.meta_test import predict_examples
from metarun.meta_train import Training
from metarun.order_check import check_order
from metarun.parts import Parts, parts_to_test
from metarun.ranks import Ranks, joined
from metarun.results import (
    Record,
    RunDirectory,
    find_run,
    run_path,
    write_csv,
    write_json,
    write_parquet,
    write_text,
)
from metarun.row import TRAINED_KEYS, describe_audit, describe_test, describe_training, task_columns
from metarun.stateless_random import root_key
from metarun.stored_config import stored_config
from metarun.switches import switched
from metarun.task_check import check_tasks
from metarun.tasks import TaskShape, TaskStream
from metarun.transduction import check_predictions

log = logging.getLogger(__name__)

CURVE = ["iteration", "split", "loss", "accuracy", "seconds"]
PREPARING_TASKS = 200  # meta-train tasks that a head may look at before it judges another method's features


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
    run = _directory(resolved, run_id(resolved))
    with joined() as ranks:
        if ranks.first:
            _once(run, resolved, lambda run, console: _train(run, resolved, console, ranks))
            ranks.from_first(None)  # nothing is left to help with
        else:
            _help_to_train(resolved, ranks)
    return run.path


def retest(config: DictConfig) -> Path:
    """Meta-test a finished run on other tasks or data, or under another head, and write one more row.

    Returns:
        The new row's directory.

    Raises:
        UserError: there is no such run, or its checkpoint cannot serve such tasks.
    """
    asked = resolve(without_algo(config))  # what it refers to is known when the run is
    parent = find_run(Path(asked["results_dir"]), str(asked["run"]))
    trained = parent.read_result()
    weights = parent.best.is_file() or parent.last.is_file()
    if trained is None or trained["status"] != "done" or not weights:
        raise UserError(
            f"run={asked['run']} is no finished training ({parent.path}); name one that `metarun train` finished."
        )
    replaced = [key for key in ("data", "algo") if config[key] is not None]
    stored = stored_config(parent, asked["trust"], replaced)
    resolved = under_another_head(overlaid(stored, asked), config)
    if config.algo is not None:
        asked["algo"] = resolved["algo"]
    asked["run"] = str(parent.path.resolve())
    run = _directory(resolved, run_id({**resolved, "run": trained["id"]}))
    parts = Parts(resolved) if config.algo is not None else parts_to_test(resolved, parent.path)
    return _once(run, resolved, lambda run, console: _retest(run, parent, trained, asked, parts, console))


def _directory(config: Config, run_id: str) -> RunDirectory:
    chosen, task = config["chosen"], config["task"]
    return RunDirectory(
        run_path(Path(config["results_dir"]), chosen["algo"], chosen["data"], task["way"], task["shot"], run_id)
    )


def _once(run: RunDirectory, config: Config, work: Callable[[RunDirectory, Console], Record]) -> Path:
    """Do the work that makes a run's row, unless the row is there; one process at a time."""
    keep_freed_memory()
    console = SteadyConsole()
    record = _found(run, config, console)
    if record is None:
        with run.locked():
            record = _found(run, config, console)  # another process may have made it while this one waited
            if record is None:
                if run.result.exists() and not config["force"]:
                    run.forget()  # it failed, and is to be tried again
                record = _work_logged(run, config, console, work)
    console.print(summary(record))
    console.print(f"→ {run.path}", highlight=False, markup=False, soft_wrap=True)
    return run.path


def _found(run: RunDirectory, config: Config, console: Console) -> Record | None:
    """Return the row that is there already, if one is and is not to be made again.

    Raises:
        RunFailed: the run failed before.
    """
    record = None if config["force"] else run.read_result()
    if record is None or (record["status"] == "failed" and config["retry_failed"]):
        return None
    if record["status"] == "failed":
        raise RunFailed(f"this run failed before, retry_failed=true tries again: {record['reason']}")
    console.print("This run is there already; force=true repeats it.", highlight=False)
    return record


def _work_logged(
    run: RunDirectory, config: Config, console: Console, work: Callable[[RunDirectory, Console], Record]
) -> Record:
    try:
        # Runs that were made before there were these two keys are without them.
        with logging_to(run.log, console), switched(config.get("deterministic", False), config.get("tf32", False)):
            return work(run, console)
    except UserError:
        run.discard_if_unused()
        raise
    except RunFailed as failure:
        _note_failure(run, failure)
        raise
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        too_large = RunFailed(
            f"the memory does not suffice for {config['chosen']['backbone']} on such tasks; lower `backbone.filters`, "
            "`task.way` or `task.query`, or let fewer runs work at a time."
        )
        _note_failure(run, too_large)
        raise too_large from error


def _note_failure(run: RunDirectory, failure: RunFailed) -> None:
    """Let the same command say so again, until it is told to try again."""
    write_json(run.result, {"id": run.id, "status": "failed", "reason": str(failure)})


def _train(run: RunDirectory, config: Config, console: Console, ranks: Ranks) -> Record:
    parts = Parts(config)
    training = _training(parts, ranks)
    tasks, _ = parts.judging  # refused now, not after the training
    if tasks < config["test"]["tasks"]:
        log.info("there are %s meta-test tasks without an example in two", f"{tasks:,}")
    if ranks.count > 1:
        log.info("each meta-batch is split among %d processes", ranks.count)
    logbook = Logbook(parts.loggers, parts.regression)
    _begin(run, parts, stored_yaml(config, "train"))
    screen = Screen(console, parts.regression)

    def close() -> None:
        screen.close()
        logbook.interrupt()

    with deferred_signals(close) as interruption:
        _go_on(run, training)
        _note_environment(run, parts, going_on=training.progress.iteration > 0)
        ranks.from_first(training.state())
        logged = LoggedRun(
            run.path, run.id, Path(config["results_dir"]), training.progress.iteration, hyperparameters(config)
        )
        with logbook.open_for(logged):
            _meta_train(run, training, screen, logbook, interruption)
            trained = {"seedless_id": seedless_id(config), **describe_training(parts, training.progress)}
            parts.algorithm.load_state_dict(training.best)
            record = _meta_test(run, run, parts, trained, screen, interruption)
            logbook.tested(record)
            return record


def _training(parts: Parts, ranks: Ranks) -> Training:
    """Make ready the training that a config asks for; refuse what cannot be done."""
    train, seed = parts.config["train"], parts.config["seed"]
    shape = TaskShape(train["way"], train["shot"], train["query"])
    parts.check_head(shape)
    parts.check_head(parts.test_shape)
    train_stream = parts.stream("train", shape, seed)
    val_stream = parts.stream("val", parts.test_shape, parts.config["test"]["seed"])
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
                training.run(_nothing, [], _stopping_together(interruption, ranks))


def _nothing() -> None:
    """The first process has done it."""


def _stopping_together(interruption: Interruption, ranks: Ranks) -> Callable[[], None]:
    """Return what ends the work of all processes when a signal came to one of them."""

    def check() -> None:
        if number := ranks.most(interruption.signal or 0):
            interruption.signal = number
            interruption.check()

    return check


def _retest(
    run: RunDirectory, parent: RunDirectory, trained: Record, asked: Config, parts: Parts, console: Console
) -> Record:
    if list(parts.data.shape) != trained["example_shape"]:
        raise UserError(
            f"data={parts.config['chosen']['data']} has examples of shape {list(parts.data.shape)} but the run was "
            f"trained on {trained['example_shape']}; choose data of that shape."
        )
    parts.check_head(parts.test_shape)
    of_training = partial(stored_config, parent, asked["trust"], ("backbone", "algo"))
    parts.trained_on = (lambda: of_training()["data"], str(trained.get("data_hash")))
    parts.check_examples()
    tasks, _ = parts.judging
    carried = {"trained_by": trained["id"], **{key: trained[key] for key in TRAINED_KEYS if key in trained}}
    if "seedless_id" in trained:  # runs that were made before there was that key are without it
        carried["seedless_id"] = seedless_id({**parts.config, "run": trained["seedless_id"]})
    if asked["algo"] is not None:
        head = parts.config["chosen"]["algo"]
        carried = {**carried, "algo": head, "trained_algo": trained["algo"], "order": parts.algorithm.order}
        if load_under_another_head(parts.algorithm, _best_weights(parent, trained), head, trained["algo"]):
            _prepare(parts)
    elif not parts.loaded:
        _load(parts.algorithm, _best_weights(parent, trained), parent.best)
        parts.loaded = True
    log.info("meta-testing the best checkpoint of %s on %s tasks", parent.path.name, f"{tasks:,}")
    _begin(run, parts, stored_yaml(asked, "test"))
    _note_environment(run, parts, going_on=False)
    screen = Screen(console, parts.regression)
    with deferred_signals(screen.close) as interruption:
        return _meta_test(run, parent, parts, carried, screen, interruption)


def _prepare(parts: Parts) -> None:
    """Let the head take what it needs from meta-train tasks; it sees no others."""
    train = parts.config["train"]
    try:
        stream = parts.stream("train", TaskShape(train["way"], train["shot"], train["query"]), parts.config["seed"])
    except UserError:  # other data than the run was trained on may not have so many classes or examples
        stream = parts.stream("train", parts.test_shape, parts.config["seed"])
    parts.algorithm.eval()
    for i in range(PREPARING_TASKS):
        parts.algorithm.prepare(stream.draw(i, 1))


def _begin(run: RunDirectory, parts: Parts, config_yaml: str) -> None:
    """Nothing was refused: only now may an earlier run of this config be given up."""
    if parts.config["force"]:
        run.forget()
    write_text(run.config, config_yaml)


def _note_environment(run: RunDirectory, parts: Parts, going_on: bool) -> None:
    """Write down where and with what the run is made; of one that goes on, beside where it began."""
    now = environment.describe(parts.config, str(parts.device), parts.data.hash)
    began = run.read_environment() if going_on else None
    if going_on and began is None:
        log.warning("%s cannot be read: where this run began is not known", run.environment)
    if began is None:
        write_json(run.environment, now)
        return
    if changed := environment.differences(began, now):
        told = ", ".join(f"{key} {how}" for key, how in changed.items())
        log.warning("not all is as it was when this run began (%s): its numbers may be others than undisturbed", told)
    write_json(run.environment, {**began, "resumed": [*began.get("resumed", []), now]})


def _best_weights(parent: RunDirectory, trained: Record) -> dict[str, Tensor]:
    """Return the weights that meta-val chose, from where they can be had.

    Raises:
        UserError: from nowhere.
    """
    try:
        weights: dict[str, Tensor] = checkpoint.load(parent.best, trained["id"])["algorithm"]
    except UserError as damage:
        state = checkpoint.load_newest([parent.last], trained["id"])
        if state is None:
            raise
        log.warning("%s; its weights are taken from %s", str(damage).partition(";")[0], parent.last.name)
        weights = state["best"]
    return weights


def _load(algorithm: Algorithm, weights: dict[str, Tensor], path: Path) -> None:
    try:
        algorithm.load_state_dict(weights)
    except RuntimeError as error:
        raise _does_not_fit(path, error) from error


def _does_not_fit(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} does not fit this run ({' '.join(str(error).split())}); was it made by another version of metarun? "
        "Run the same command with `force=true`."
    )


def _go_on(run: RunDirectory, training: Training) -> None:
    """Bring the training to where the run was stopped, if it was.

    Raises:
        UserError: what is saved is of another version's network or method.
    """
    state = checkpoint.load_newest([run.last, run.previous], run.id)
    if state is None:
        if run.last.exists() or run.previous.exists():
            log.warning("no checkpoint of this run can be used: it begins anew, and comes to the same numbers")
        return
    try:
        training.restore(state)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _does_not_fit(run.last, error) from error
    _use_as_many_threads(state["threads"])
    log.info("going on from step %s", f"{training.progress.iteration:,}")


def _use_as_many_threads(threads: int) -> None:
    """Compute with as many threads as before: sums that are split among others come out a little different."""
    if threads > (os.cpu_count() or 1):
        log.warning(
            "this run was begun with %d threads, more than there are here: numbers may differ a little", threads
        )
    elif threads != torch.get_num_threads():
        log.info("going on with as many threads as before, %d", threads)
        torch.set_num_threads(threads)


def _meta_train(
    run: RunDirectory, training: Training, screen: Screen, logbook: Logbook, interruption: Interruption
) -> None:
    """Meta-train from where the run stands to its end; write its curve and both checkpoints."""

    def write(state: checkpoint.State) -> None:
        checkpoint.save(run.last, state, before=run.previous)
        write_csv(run.curve, state["progress"]["curve"], CURVE)

    writer = checkpoint.InBackground(write)

    def save() -> None:
        with training.settled:
            state = checkpoint.snapshot(training.state())
            writer.give({"run": run.id, "threads": torch.get_num_threads(), **state})

    def save_now() -> None:
        with training.settled:  # so that nothing newer comes, which would be waited for
            save()
            writer.finish()

    together = _stopping_together(interruption, training.ranks)
    with interruption.keeping(save_now), screen.phase(f"meta-training {run.path.name}"):
        training.run(save, [screen, logbook], together)
    writer.finish()
    write_csv(
        run.curve, training.progress.curve, CURVE
    )  # a kill may have come between the last checkpoint and its curve
    checkpoint.save(run.best, {"run": run.id, "algorithm": training.best})


def _meta_test(
    run: RunDirectory,
    training: RunDirectory,
    parts: Parts,
    trained: Record,
    screen: Screen,
    interruption: Interruption,
) -> Record:
    """Judge the checkpoint that a training chose once on the meta-test tasks; write the row, last and whole."""

    def judged(done: int, tasks: int) -> None:
        interruption.check()
        screen.judged(done, tasks)

    torch.manual_seed(root_key("test", parts.config["test"]["seed"]))  # a method of the user's own may draw
    with screen.phase(f"meta-testing {run.path.name}"):
        tested, found = describe_test(parts, judged, interruption.check)
    if parts.config.get("audit"):
        with screen.phase(f"auditing {run.path.name}"):
            tested = {**tested, **describe_audit(parts, judged, tested["transductive"])}
    write_parquet(run.tasks, task_columns(found))
    tasks, steps = parts.judging
    if examples := predict_examples(parts.algorithm, parts.test_stream, steps, tasks, interruption.check):
        example_tasks.save(run.examples, examples)
    record = {"id": run.id, "status": "done", **trained, **tested}
    record = {**record, **note_look(training.looks, record)}
    write_json(run.result, record)
    run.previous.unlink(missing_ok=True)  # one will do from now on
    return record
