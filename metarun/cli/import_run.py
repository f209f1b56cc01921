"""`metarun import FILE`: unpack what `metarun publish` wrote as a run."""

from collections.abc import Sequence
from pathlib import Path

from metarun.cli.parser import CommandParser
from metarun.results.metrics import figure, metric_of

EXAMPLES = """examples:
  metarun import letters.zip
  metarun test run=3f2a task.shot=5           the imported run works like any other"""


def main(args: Sequence[str]) -> int:
    """Import the pack and return the exit code."""
    parser = CommandParser.with_examples("metarun import", "Unpack a file of `metarun publish` as a run.", EXAMPLES)
    parser.add_argument("file", type=Path, metavar="FILE", help="what `metarun publish` wrote")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where to put it (default: results)")
    options = parser.parse_args(args)
    from metarun.api.publishing import unpack

    run, is_new = unpack(options.file, options.results_dir)
    record = run.read_result()
    assert record is not None, "it was just written"
    metric = metric_of(record)
    result = figure(record).removeprefix(metric.prefix)
    print(f"{record['algo']} on {record['data']}: {metric.title} {result}")
    print(f"→ {run.path}" if is_new else f"{run.path} is already there, with the same content.")
    return 0
