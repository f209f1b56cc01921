"""Runs that are there already: found and shown without torch, so that a sweep of a hundred of them takes no time."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.config.compose import resolve
from metarun.config.run_id import run_id
from metarun.config.schema import Config
from metarun.errors import RunFailed, UserError
from metarun.loggers.terminal import RobustConsole
from metarun.reporting.summary import summary
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory, run_path
from metarun.runner.data_at_hand import data_at_hand
from metarun.system.events import emit


def show_finished(config: DictConfig) -> Path | None:
    """Show the run that a config of `metarun train` asks for, if its row is there; return its directory.

    Raises:
        UserError: the config asks for what cannot be done, or the row cannot be read.
        RunFailed: the run failed before.
    """
    resolved = resolve(config)
    run, console = directory_of(resolved, run_id(resolved)), RobustConsole()
    record = found(run, resolved, console)
    if record is None:
        return None
    show(run, record, console)
    return run.path


def directory_of(config: Config, run_id: str) -> RunDirectory:
    """Return where the run of a resolved config lies."""
    chosen, task = config["chosen"], config["task"]
    return RunDirectory(
        run_path(Path(config["results_dir"]), chosen["algo"], chosen["data"], task["way"], task["shot"], run_id)
    )


def found(run: RunDirectory, config: Config, console: Console) -> Record | None:
    """Return the row that is there already, if one is and is not to be made again.

    Raises:
        RunFailed: the run failed before.
        UserError: it was made from other data than are here now.
    """
    record = None if config["force"] else run.read_result()
    if record is None or (record["status"] == "failed" and config["retry_failed"]):
        return None
    if record["status"] == "failed":
        raise RunFailed(f"this run failed before, retry_failed=true tries again: {record['reason']}")
    _check_data(run, record, data_at_hand(config))
    console.print(said := "Already finished; use force=true to run it again.", highlight=False)
    emit("found", said=said)
    return record


def _check_data(run: RunDirectory, record: Record, now: str | None) -> None:
    """Refuse to show a row as that of other data: whatever an identity holds, data may change behind it."""
    before = record.get("data_hash")
    if now is not None and before is not None and now != before:
        raise UserError(
            f"{run.path} was made by the same config from other data: their hash is {now[:12]} now and was "
            f"{before[:12]}",
            "force=true replaces that run, another `results_dir` keeps both.",
        )


def show(run: RunDirectory, record: Record, console: Console) -> None:
    """Tell a run's row, and where it lies."""
    console.print(summary(record))
    console.print(f"→ {run.path}", highlight=False, markup=False, soft_wrap=True)
    emit("finished", path=str(run.path))
