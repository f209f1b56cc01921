"""Runs that are there already: found and shown without torch, so that a sweep of a hundred of them takes no time."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.config import Config, resolve, run_id
from metarun.display import SteadyConsole
from metarun.errors import RunFailed
from metarun.results import Record, RunDirectory, run_path
from metarun.summary import summary


def show_finished(config: DictConfig) -> Path | None:
    """Show the run that a config of `metarun train` asks for, if its row is there; return its directory.

    Raises:
        UserError: the config asks for what cannot be done, or the row cannot be read.
        RunFailed: the run failed before.
    """
    resolved = resolve(config)
    run, console = directory_of(resolved, run_id(resolved)), SteadyConsole()
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
    """
    record = None if config["force"] else run.read_result()
    if record is None or (record["status"] == "failed" and config["retry_failed"]):
        return None
    if record["status"] == "failed":
        raise RunFailed(f"this run failed before, retry_failed=true tries again: {record['reason']}")
    console.print("This run is there already; force=true repeats it.", highlight=False)
    return record


def show(run: RunDirectory, record: Record, console: Console) -> None:
    """Tell a run's row, and where it lies."""
    console.print(summary(record))
    console.print(f"→ {run.path}", highlight=False, markup=False, soft_wrap=True)
