"""`metarun compare`: a table or a pivot of finished runs."""

import json
from collections.abc import Sequence

from metarun.cli.parser import CommandParser
from metarun.errors import UserError, did_you_mean
from metarun.reporting.tables.pivot import flat, pivot_figures, pivot_table
from metarun.reporting.tables.render import FORMATS, as_csv, print_table
from metarun.reporting.tables.rows import describe_interval, finished_rows, print_rows
from metarun.reporting.tables.run_labels import with_settings
from metarun.results.records import Record

EXAMPLES = """examples:
  metarun compare                                      every run under results/
  metarun compare results/runs/*omniglot*              some runs
  metarun compare --rows algo --columns way,shot       a pivot: one row per method, one column per task size
  metarun compare --rows algo,algo.inner_lr            a pivot over a key of the config
  metarun compare --against RUN                        is a difference significant? paired tests on the same tasks
  metarun compare --format latex > table.tex           or csv, md, json; csv and json have every key of result.json"""


def main(args: Sequence[str]) -> int:
    """Print the table and return the exit code.

    Raises:
        UserError: a path or a key does not exist, or there is no finished run.
    """
    parser = CommandParser.with_examples("metarun compare", "Compare finished runs in a table.", EXAMPLES)
    parser.add_paths()
    parser.add_argument("--rows", help="keys of result.json or of the config that form the rows of a pivot")
    parser.add_argument("--columns", help="keys that form its columns, such as way,shot")
    parser.add_argument("--against", metavar="RUN", help="test every other run against the run with this id")
    parser.add_argument("--each-seed", action="store_true", help="one row per run; default: one per configuration")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    options = parser.parse_args(args)
    records = finished_rows(options.paths)
    if options.against:
        from metarun.reporting.tables.paired import print_against  # scipy.stats takes a second to import

        print_against(records, options.against, options.format)
    elif options.rows or options.columns:
        records, rows, columns = _with_keys(records, options.rows, options.columns)
        _print_pivot(records, rows, columns, options.format)
    else:
        print_rows(records, options.format, options.each_seed)
    return 0


def _print_pivot(records: list[Record], rows: list[str], columns: list[str], form: str) -> None:
    if form == "json":
        print(json.dumps(pivot_figures(records, rows, columns), indent=2))
    elif form == "csv":
        print(as_csv(flat(pivot_figures(records, rows, columns))), end="")
    else:
        head, body, notes = pivot_table(records, rows, columns)
        print_table(head, body, [describe_interval(records), *notes], form)


def _with_keys(records: list[Record], *requested: str | None) -> tuple[list[Record], list[str], list[str]]:
    """Return the records, with config settings if a dotted key is requested, and the row and column keys."""
    rows, columns = ([key.strip() for key in (keys or "").split(",") if key.strip()] for keys in requested)
    if any("." in key for key in (*rows, *columns)):
        records = with_settings(records)
    tables = {key for record in records for key, value in record.items() if isinstance(value, list | dict)}
    known = sorted({key for record in records for key in record} - tables)
    for key in (*rows, *columns):
        if key not in known:
            plain = ", ".join(name for name in known if "." not in name)
            raise UserError(
                f"'{key}' is not a key of a result ({plain}) or of a config, such as algo.inner_lr."
                + did_you_mean(key, known)
            )
    return records, rows, columns
