"""`metarun compare`: a table or a pivot of finished runs."""

import argparse
import gc
import json
from collections.abc import Sequence

from metarun.cli.parser import CommandParser
from metarun.errors import UserError
from metarun.reporting.tables.pivot import flat, pivot_figures, pivot_table
from metarun.reporting.tables.render import FORMATS, as_csv, print_table
from metarun.reporting.tables.rows import describe_interval, finished_rows, print_rows
from metarun.reporting.tables.selection import parse_conditions, select, with_keys
from metarun.results.records import Record

EXAMPLES = """examples:
  metarun compare                                      every run under results/
  metarun compare results/runs/*omniglot*              some runs
  metarun compare --rows algo --columns way,shot       a pivot: one row per method, one column per task size
  metarun compare --rows algo,algo.inner_lr            a pivot over a key of the config
  metarun compare --against RUN                        is a difference significant? paired tests on the same tasks
  metarun compare --where 'algo=maml and test_shot=1' --sort accuracy --show algo.inner_lr
  metarun compare --format latex > table.tex           or csv, md, json; csv and json have every key of result.json"""


def main(args: Sequence[str]) -> int:
    """Print the table and return the exit code."""
    parser = CommandParser.with_examples("metarun compare", "Compare finished runs in a table.", EXAMPLES)
    parser.add_paths()
    parser.add_argument("--rows", help="keys of result.json or of the config that form the rows of a pivot")
    parser.add_argument("--columns", help="keys that form its columns, such as way,shot")
    parser.add_argument("--against", metavar="RUN", help="test every other run against the run with this id")
    parser.add_argument("--each-seed", action="store_true", help="one row per run; default: one per configuration")
    parser.add_argument("--where", metavar="CONDITIONS", help="only these runs: 'algo=maml and test_shot>=5'")
    parser.add_argument("--sort", metavar="KEY", help="sort by a key; -KEY: in reverse")
    parser.add_argument("--show", metavar="KEYS", help="also show these keys, such as algo.inner_lr")
    parser.add_argument("--only", metavar="COLUMNS", help="only these columns, such as method,task,accuracy")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    options = parser.parse_args(_joined(args))
    _check_flags(options)
    conditions = parse_conditions(options.where) if options.where else []
    shown, rows, columns = (_keys(text) for text in (options.show, options.rows, options.columns))
    sort = [options.sort.removeprefix("-")] if options.sort else []
    needed = [*(key for key, *_ in conditions), *shown, *rows, *columns, *sort]
    records = with_keys(finished_rows(options.paths), needed)
    gc.freeze()  # the records live until the end: the collector need not scan them, a tenth of the time for thousands
    if conditions:
        records = select(records, conditions)
    if options.against:
        from metarun.reporting.tables.paired import print_against  # scipy.stats takes a second to import

        print_against(records, options.against, options.format)
    elif rows or columns:
        _print_pivot(records, rows, columns, options.format)
    else:
        print_rows(records, options.format, options.each_seed, shown, options.sort, _keys(options.only))
    return 0


def _check_flags(options: argparse.Namespace) -> None:
    """Raise a UserError for a flag that another leaves without effect."""
    of_table = ("each_seed", "sort", "show", "only")
    without_effect = {"against": ("rows", "columns", *of_table), "rows": of_table, "columns": of_table}
    for flag, others in without_effect.items():
        for other in others:
            if getattr(options, flag) and getattr(options, other):
                raise UserError(f"--{other.replace('_', '-')} has no effect with --{flag}", "omit one of them.")
    if options.only and options.format in ("json", "csv"):
        raise UserError(f"--only has no effect with --format {options.format}, which has every key", "omit it.")


def _joined(args: Sequence[str]) -> list[str]:
    """Join --sort and a key that starts with a minus sign, which argparse would take for a flag."""
    joined: list[str] = []
    for arg in args:
        if joined and joined[-1] == "--sort" and arg.startswith("-") and not arg.startswith("--"):
            joined[-1] = f"--sort={arg}"
        else:
            joined.append(arg)
    return joined


def _keys(text: str | None) -> list[str]:
    return [key.strip() for key in (text or "").split(",") if key.strip()]


def _print_pivot(records: list[Record], rows: list[str], columns: list[str], form: str) -> None:
    if form == "json":
        print(json.dumps(pivot_figures(records, rows, columns), indent=2))
    elif form == "csv":
        print(as_csv(flat(pivot_figures(records, rows, columns))), end="")
    else:
        head, body, notes = pivot_table(records, rows, columns)
        print_table(head, body, [describe_interval(records), *notes], form)
