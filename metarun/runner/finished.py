"""Find and show finished runs without torch, so that a sweep of a hundred of them takes no time."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.config.compose import resolve
from metarun.config.run_id import run_id
from metarun.config.schema import Config
from metarun.errors import RunFailed, UserError
from metarun.loggers.terminal import RobustConsole
from metarun.reporting.summary import summary
from metarun.results.metrics import figure
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory, run_path
from metarun.runner.current_data import current_data_hash
from metarun.runner.embedding_path import with_embedding_path
from metarun.system.events import emit


def show_finished(config: DictConfig) -> Path | None:
    """Show the run of a `metarun train` config if it is finished, and return its directory.

    Raises:
        UserError: the config is invalid, or the record cannot be read.
        RunFailed: the run failed before.
    """
    (resolved, run), console = resolved_run(config), RobustConsole()
    record = find_result(run, resolved, console)
    if record is None:
        return None
    show(run, record, console)
    return run.path


def resolved_run(config: DictConfig) -> tuple[Config, RunDirectory]:
    """Return the resolved config of `metarun train`, and the directory of its run."""
    resolved = with_embedding_path(resolve(config))
    return resolved, directory_of(resolved, run_id(resolved))


def directory_of(config: Config, run_id: str) -> RunDirectory:
    """Return the directory of a resolved config's run."""
    chosen, task = config["chosen"], config["task"]
    return RunDirectory(
        run_path(Path(config["results_dir"]), chosen["algo"], chosen["data"], task["way"], task["shot"], run_id)
    )


def find_result(run: RunDirectory, config: Config, console: Console) -> Record | None:
    """Return the record of a finished run, unless it is to be repeated.

    Raises:
        RunFailed: the run failed before.
        UserError: the run was made with different data.
    """
    record = None if config["force"] else run.read_result()
    if record is None or (record["status"] == "failed" and config["retry_failed"]):
        return None
    if record["status"] == "failed":
        raise RunFailed(f"this run failed before (use retry_failed=true to retry): {record['reason']}")
    _check_data(run, record, current_data_hash(config))
    message = "Already finished; use force=true to run it again."
    if names := ", ".join(config.get("logger", {})):  # a config of `metarun test` has none
        message += f" The logger {names} receives nothing from a finished run."
    console.print(message, highlight=False, soft_wrap=True)
    emit("found", said=message)
    return record


def _check_data(run: RunDirectory, record: Record, now: str | None) -> None:
    """Raise a UserError if the data have changed, which need not change the run id."""
    before = record.get("data_hash")
    if now is not None and before is not None and now != before:
        raise UserError(
            f"{run.path} was made with the same config but different data: their hash was {before[:12]} and is now "
            f"{now[:12]}",
            "use force=true to replace that run, or another `results_dir` to keep both.",
        )


def show(run: RunDirectory, record: Record, console: Console) -> None:
    """Print a run's record and its directory."""
    console.print(summary(record))
    console.print(f"→ {run.path}", highlight=False, markup=False, soft_wrap=True)
    emit("finished", path=str(run.path), figure=figure(record))
