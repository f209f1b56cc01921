"""Execute a run: lock its directory, log, meta-test and write the record."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from metarun.config.schema import Config
from metarun.errors import RunFailed, TrainingDiverged, UserError
from metarun.evaluation.example_predictions import predict_examples
from metarun.loggers.run_log import logging_to
from metarun.loggers.terminal import RobustConsole, Screen
from metarun.results import provenance
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.rl.stream import EnvironmentSource
from metarun.runner.class_records import describe_classes
from metarun.runner.components import Parts
from metarun.runner.finished import find_result, show
from metarun.runner.policy_runs import test_policy
from metarun.runner.record import (
    describe_audit,
    describe_conditions,
    describe_ridge,
    describe_test,
    finite_tasks,
    task_columns,
)
from metarun.runner.unknown_records import describe_unknown
from metarun.system.determinism import torch_settings
from metarun.system.memory import is_out_of_memory, keep_freed_memory
from metarun.system.signals import Interruption
from metarun.system.torch_warnings import torch_warnings_logged
from metarun.tasks.rng import root_key

log = logging.getLogger(__name__)


def run_once(run: RunDirectory, config: Config, work: Callable[[RunDirectory, Console], Record]) -> Path:
    """Execute a run unless it is already finished, in one process at a time, and show its record."""
    keep_freed_memory()
    console = RobustConsole()
    record = find_result(run, config, console)
    if record is None:
        with run.locked():
            record = find_result(run, config, console)  # another process may have finished it meanwhile
            if record is None:
                if run.result.exists() and not config["force"]:
                    run.clear()  # it failed and is retried
                record = _run_logged(run, config, console, work)
    show(run, record, console)
    return run.path


def _run_logged(
    run: RunDirectory, config: Config, console: Console, work: Callable[[RunDirectory, Console], Record]
) -> Record:
    try:
        # These two keys are missing in runs of earlier versions.
        settings = torch_settings(config.get("deterministic", False), config.get("tf32", False))
        with logging_to(run.log, console), torch_warnings_logged(), settings:
            return work(run, console)
    except UserError:
        run.discard_if_unused()
        raise
    except RunFailed as failure:
        _record_failure(run, failure)
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        out_of_memory = RunFailed(
            f"out of memory with {config['chosen']['backbone']} on these tasks; lower `backbone.filters`, `task.way` "
            "or `task.query`, or run fewer jobs at once."
        )
        _record_failure(run, out_of_memory)
        raise out_of_memory from error


def _record_failure(run: RunDirectory, failure: RunFailed) -> None:
    """Write a failed record, so that the same command reports it until `retry_failed=true`."""
    trained = failure.trained if isinstance(failure, TrainingDiverged) else {}
    run.write_result({"id": run.id, "status": "failed", "reason": str(failure), **trained})


def describe_environment(parts: Parts) -> dict[str, Any]:
    """Return the environment of a run, for its `environment.json`."""
    return provenance.describe(parts.config, str(parts.device), parts.source.hash)


def meta_test(
    run: RunDirectory, training: RunDirectory, parts: Parts, trained: Record, screen: Screen, interruption: Interruption
) -> Record:
    """Evaluate the chosen checkpoint on the meta-test tasks and write the record."""

    def on_progress(done: int, tasks: int) -> None:
        interruption.check()
        screen.on_test_progress(done, tasks)

    torch.manual_seed(root_key("test", parts.config["test"]["seed"]))  # a user's method may draw random numbers
    if isinstance(parts.source, EnvironmentSource):
        return test_policy(run, training, parts, trained, screen, on_progress)
    with screen.phase("testing", f"meta-testing {run.path.name}"):
        tested, found = describe_test(parts, on_progress, interruption.check)
        tested |= describe_ridge(parts, found, on_progress)
        of_unknown, aurocs = describe_unknown(parts, tested, on_progress)
    tested = {**tested, **of_unknown, **describe_conditions(parts)}
    finite = finite_tasks(found)
    if parts.config.get("audit"):
        with screen.phase("auditing", f"auditing {run.path.name}"):
            tested |= describe_audit(parts, finite, tested["transductive"], on_progress)
    steps, check, display = parts.test_size[1], interruption.check, parts.source.display
    examples = predict_examples(parts.algorithm, parts.test_stream, steps, finite, check, display)
    record = {"id": run.id, "status": "done", **trained, **tested}
    classes = describe_classes(found, _class_names(parts))
    return run.finish(record, training, task_columns(found, aurocs), examples, classes)


def _class_names(parts: Parts) -> Sequence[str]:
    """Return the names of the meta-test classes; none in regression and over several data sets."""
    splits = parts.source.splits
    return splits["test"].class_names if splits and parts.source.tested_sets == 1 else ()
