"""`metarun runs`: every run with its state, also those that are running, failed or were interrupted."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from metarun.cli.parser import CommandParser
from metarun.errors import UserError
from metarun.reporting.tables.render import print_table
from metarun.results.metrics import figure
from metarun.results.run_directory import RunDirectory
from metarun.system.durations import format_age
from metarun.system.paths import is_folder

STATES = ("finished", "running", "interrupted", "failed", "damaged")
NOTES = {
    "interrupted": "Rerun the command of an interrupted run to resume it.",
    "failed": "Rerun the command of a failed run with retry_failed=true to try it again.",
    "damaged": "`metarun compare` says what is damaged.",
}
EXAMPLES = """examples:
  metarun runs                        every run under results/, the newest first
  metarun runs --state interrupted    those that were stopped and can be resumed
  metarun rm RUN                      move a run to results/.bin"""


def main(args: Sequence[str]) -> int:
    """Print the list and return the exit code."""
    parser = CommandParser.with_examples("metarun runs", "List runs with their state, age and size.", EXAMPLES)
    add_results_dir(parser)
    parser.add_argument("--state", choices=STATES, help="show only these")
    options = parser.parse_args(args)
    if not is_folder(options.results_dir / "runs"):
        raise UserError(f"there are no runs in {options.results_dir}", "start one with `metarun train`.")
    files = {RunDirectory(path): _files(path) for path in (options.results_dir / "runs").iterdir() if is_folder(path)}
    last_change = {run: max(file.st_mtime for file in found) for run, found in files.items() if found}
    runs = sorted(last_change, key=last_change.__getitem__, reverse=True)
    described = [(run, *describe_state(run)) for run in runs]
    shown = [each for each in described if options.state in (None, each[1])]
    rows = []
    for run, state, what in shown:
        age = format_age(time.time() - last_change[run])
        rows.append([run.id, run.path.name.rpartition("-")[0], state, what, age, _size(files[run])])
    if not rows:
        print(f"no {options.state} runs in {options.results_dir}" if options.state else "no runs")
        return 0
    notes = [NOTES[state] for state in NOTES if any(state == each[1] for each in shown)]
    print_table(["id", "run", "state", "result", "age", "MB"], rows, notes, "table")
    return 0


def describe_state(run: RunDirectory) -> tuple[str, str]:
    """Return one of `STATES`, and the result, the step that was reached or the reason of a failure."""
    try:
        record = run.read_result()
    except UserError as error:
        return "damaged", error.problem
    if record is not None:
        return ("finished", figure(record)) if record["status"] == "done" else ("failed", record["reason"])
    return ("running" if run.is_locked else "interrupted"), _step(run)


def _step(run: RunDirectory) -> str:
    """Return the last step of the curve so far."""
    try:
        last = run.curve.read_text().splitlines()[-1].partition(",")[0]
    except (OSError, ValueError, IndexError):
        return ""
    return f"step {int(last):,}" if last.isdecimal() else ""


def _files(folder: Path) -> list[os.stat_result]:
    """Return the state of each file of a run, or of its folder if it has none; nothing if it was removed meanwhile.

    Files that the run replaces meanwhile are skipped, and so are dangling links.
    """
    found = []
    with suppress(FileNotFoundError):
        for file in folder.iterdir():
            with suppress(OSError):
                found.append(file.stat())
        return found or [folder.stat()]
    return []


def _size(files: Sequence[os.stat_result]) -> str:
    return f"{sum(file.st_size for file in files if S_ISREG(file.st_mode)) / 2**20:.1f}"


def add_results_dir(parser: CommandParser) -> None:
    """Add the flag that says where the runs are."""
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="default: results")
