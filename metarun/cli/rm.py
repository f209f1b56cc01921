"""`metarun rm RUN…`: move runs to the bin."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from metarun.cli.parser import CommandParser
from metarun.cli.runs import add_results_dir
from metarun.errors import UserError
from metarun.results.find_run import find_run

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
    runs = [find_run(options.results_dir, run) for run in options.runs]
    for run in runs:
        if run.is_locked:
            raise UserError(f"{run.path} is running", "stop it first with Ctrl-C.")
    for run in runs:
        target = _free_name(run.path.parent.parent / BIN / run.path.name)
        target.parent.mkdir(exist_ok=True)
        shutil.move(run.path, target)
        print(f"{run.path} → {target}")
    return 0


def _free_name(path: Path) -> Path:
    """Return a path that does not exist: `path`, or `path` with a number."""
    names = (path.with_name(f"{path.name}.{i}") for i in range(1, 10_000))
    return path if not path.exists() else next(name for name in names if not name.exists())
