"""`metarun rm RUN…`: move runs to the bin."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from metarun.cli.parser import CommandParser
from metarun.cli.runs import add_results_dir
from metarun.errors import UserError
from metarun.results.find_run import find_run
from metarun.results.run_directory import RunDirectory

EXAMPLES = """examples:
  metarun rm 3f2a91c4           a run by its id, or its first characters
  metarun rm last"""
BIN = ".bin"  # tables skip hidden folders


def main(args: Sequence[str]) -> int:
    """Move runs to the bin and return the exit code."""
    parser = CommandParser.with_examples(
        "metarun rm", "Move runs to the bin, results/.bin; move a folder back to restore a run.", EXAMPLES
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's directory or the first characters of its id")
    add_results_dir(parser)
    options = parser.parse_args(args)
    runs = {_located(run): run for run in (find_run(options.results_dir, word) for word in options.runs)}
    bins = {path: _bin(path, run, options.results_dir) for path, run in runs.items()}
    for path, run in runs.items():
        target = _free_name(bins[path] / path.name)
        target.parent.mkdir(exist_ok=True)
        shutil.move(path, target)
        print(f"{run.path} → {target}")
    return 0


def _located(run: RunDirectory) -> Path:
    """Return the path of a run as it is moved, with links resolved; where the run itself is a link, of that."""
    return run.path.parent.resolve() / run.path.name if run.path.is_symlink() else run.path.resolve()


def _bin(path: Path, run: RunDirectory, results_dir: Path) -> Path:
    """Return the bin of the results folder that holds a run.

    Raises:
        UserError: none does, or the run is not over.
    """
    in_results = path.parent == (results_dir / "runs").resolve()  # which may be a link to a folder of another name
    if not in_results and path.parent.name != "runs":
        raise UserError(
            f"{run.path} is not in the runs/ of a results folder", "name a run by its id, which `metarun runs` shows."
        )
    if run.is_locked:
        raise UserError(f"{run.path} is running", "stop it first with Ctrl-C.")
    return (results_dir if in_results else path.parent.parent) / BIN


def _free_name(path: Path) -> Path:
    """Return a path that does not exist: `path`, or `path` with a number."""
    names = (path.with_name(f"{path.name}.{i}") for i in range(1, 10_000))
    return path if not path.exists() else next(name for name in names if not name.exists())
