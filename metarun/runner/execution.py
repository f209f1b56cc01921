"""What makes a row, whether its weights were trained for it or before: done once, logged, written last and whole."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from metarun.config.schema import Config
from metarun.errors import RunFailed, TrainingDiverged, UserError
from metarun.evaluation.evaluate import predict_examples
from metarun.loggers.run_log import logging_to
from metarun.loggers.terminal import RobustConsole, Screen
from metarun.results import provenance as environment
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.runner.components import Parts
from metarun.runner.finished import found, show
from metarun.runner.record import describe_audit, describe_conditions, describe_test, did_not_diverge, task_columns
from metarun.system.determinism import switched
from metarun.system.memory import keep_freed_memory, ran_out
from metarun.system.signals import Interruption
from metarun.system.torch_warnings import torch_warnings_logged
from metarun.tasks.rng import root_key

log = logging.getLogger(__name__)


def once(run: RunDirectory, config: Config, work: Callable[[RunDirectory, Console], Record]) -> Path:
    """Do the work that makes a run's row, unless the row is there; one process at a time."""
    keep_freed_memory()
    console = RobustConsole()
    record = found(run, config, console)
    if record is None:
        with run.locked():
            record = found(run, config, console)  # another process may have made it while this one waited
            if record is None:
                if run.result.exists() and not config["force"]:
                    run.forget()  # it failed, and is to be tried again
                record = _work_logged(run, config, console, work)
    show(run, record, console)
    return run.path


def _work_logged(
    run: RunDirectory, config: Config, console: Console, work: Callable[[RunDirectory, Console], Record]
) -> Record:
    try:
        # Runs that were made before there were these two keys are without them.
        switches = switched(config.get("deterministic", False), config.get("tf32", False))
        with logging_to(run.log, console), torch_warnings_logged(), switches:
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
    trained = failure.trained if isinstance(failure, TrainingDiverged) else {}
    run.write_result({"id": run.id, "status": "failed", "reason": str(failure), **trained})


def surroundings(parts: Parts) -> dict[str, Any]:
    """Return where and with what a run is made, for its `environment.json`."""
    return environment.describe(parts.config, str(parts.device), parts.data_hash)


def meta_test(
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
        screen.on_test_progress(done, tasks)

    algorithm, stream, (tasks, steps) = parts.algorithm, parts.test_stream, parts.judging
    torch.manual_seed(root_key("test", parts.config["test"]["seed"]))  # a method of the user's own may draw
    with screen.phase("testing", f"meta-testing {run.path.name}"):
        tested, found = describe_test(algorithm, stream, tasks, steps, parts.features, judged, interruption.check)
    tested = {**tested, **describe_conditions(parts)}
    sane = did_not_diverge(found)
    if parts.config.get("audit"):
        with screen.phase("auditing", f"auditing {run.path.name}"):
            tested = {**tested, **describe_audit(algorithm, stream, sane, steps, judged, tested["transductive"])}
    examples = predict_examples(algorithm, stream, steps, sane, interruption.check)
    record = {"id": run.id, "status": "done", **trained, **tested}
    return run.finish(record, task_columns(found), examples, training)
