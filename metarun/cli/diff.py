"""`metarun diff A B`: how two runs differ in config, environment and results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.cli.parser import CommandParser
from metarun.errors import printable
from metarun.reporting.tables.render import print_table
from metarun.reporting.tables.run_labels import NOT_COMPARED, dotted_config
from metarun.results.find_run import find_run
from metarun.results.metrics import figure, metric_of
from metarun.results.provenance import CHANGES_NUMBERS, PLACE, compare_environments
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.system.durations import format_duration

EXAMPLES = """examples:
  metarun diff 3f2a 91c4       two runs by the first characters of their ids
  metarun diff last best"""


def main(args: Sequence[str]) -> int:
    """Print what differs and return the exit code."""
    parser = CommandParser.with_examples(
        "metarun diff", "Show how two finished runs differ in config, environment and results.", EXAMPLES
    )
    for name in ("A", "B"):
        parser.add_argument(name.lower(), metavar=name, help="a directory, the start of an id, last or best")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the runs are")
    options = parser.parse_args(args)
    runs = [find_run(options.results_dir, name) for name in (options.a, options.b)]
    records = [run.read_finished() for run in runs]
    names = [f"{record['algo']} {record['id']}" for record in records]
    _print_differences("config", names, [dotted_config(run.path) for run in runs])
    _print_environment(runs)
    _print_differences("result", names, [_figures(record) for record in records])
    if records[0].get("stream_hash") == records[1].get("stream_hash") is not None:
        against = records[0]["id"]
        print(f"Both were tested on the same tasks; `metarun compare --against {against}` tests the difference.")
    return 0


def _print_differences(what: str, names: Sequence[str], both: Sequence[Mapping[str, Any]]) -> None:
    """Print the keys whose values differ, one row each."""
    keys = sorted({key for each in both for key in each if key.split(".")[0] not in NOT_COMPARED})
    rows = [[key, *(_text(each.get(key)) for each in both)] for key in keys if both[0].get(key) != both[1].get(key)]
    if rows:
        print_table([what, *names], rows, [], "table")
    else:
        print(f"{what}: no difference")


def _text(value: Any) -> str:
    return "–" if value is None else printable(str(value))


def _print_environment(runs: Sequence[RunDirectory]) -> None:
    before, now = (run.read_environment() for run in runs)
    if before is None or now is None:
        print("environment: unknown, since an environment.json cannot be read")
        return
    changed = compare_environments(before, now, (*CHANGES_NUMBERS, *PLACE))
    print(f"environment: {', '.join(f'{key} {how}' for key, how in changed.items()) or 'no difference'}")


def _figures(record: Record) -> dict[str, str]:
    """Return the figures of a run that a reader compares, formatted."""
    metric = metric_of(record)
    return {
        metric.key: figure(record),
        "meta-val": metric.text(record.get(metric.val)),
        "floor": metric.text(record.get(metric.floor)),
        "tasks": f"{record['test_tasks']:,}",
        "best step": f"{record.get('best_iteration', 0):,} of {record['iterations']:,}",
        "parameters": f"{record['parameters']:,}" if "parameters" in record else "–",
        "meta-training": format_duration(record["train_seconds"]),
        "adaptation": f"{record['adapt_ms']:.1f} ms per task",
        "transductive": "yes" if record["transductive"] else "no",
    }
