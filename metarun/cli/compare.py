"""`metarun compare`: all rows side by side, or as a pivot."""

import json
from collections.abc import Sequence

from metarun.cli.parser import WordParser
from metarun.errors import UserError, did_you_mean
from metarun.reporting.tables.pivot import flat, pivot_figures, pivot_table
from metarun.reporting.tables.render import (
    FORMATS,
    as_csv,
    print_table,
)
from metarun.reporting.tables.rows import finished_rows, print_rows, what_figures_are
from metarun.reporting.tables.run_labels import with_settings
from metarun.results.records import Record

EXAMPLES = """examples:
  metarun compare                                      every run under results/
  metarun compare results/runs/*omniglot*              some of them
  metarun compare --rows algo --columns way,shot       a pivot: methods down, task sizes across
  metarun compare --rows algo,algo.inner_lr            keys of the config make one too
  metarun compare --against RUN                        is a difference real? paired tests on the same tasks
  metarun compare --format latex > table.tex           also csv, md, json; csv and json hold every key of result.json"""


def main(words: Sequence[str]) -> int:
    """Print the table and return the exit code.

    Raises:
        UserError: a path or a key is not there, or there is no finished run.
    """
    parser = WordParser.with_examples("metarun compare", "Put the rows of finished runs side by side.", EXAMPLES)
    parser.add_paths()
    parser.add_argument("--rows", help="keys of result.json or of the config that make the rows of a pivot")
    parser.add_argument("--columns", help="keys that make its columns, such as way,shot")
    parser.add_argument("--against", metavar="RUN", help="a run's id: test the others against it, task by task")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    options = parser.parse_args(words)
    records = finished_rows(options.paths)
    if options.against:
        from metarun.reporting.tables.paired import print_against  # scipy.stats, a second that no other table needs

        print_against(records, options.against, options.format)
    elif options.rows or options.columns:
        records, rows, columns = _with_keys(records, options.rows, options.columns)
        _print_pivot(records, rows, columns, options.format)
    else:
        print_rows(records, options.format)
    return 0


def _print_pivot(records: list[Record], rows: list[str], columns: list[str], form: str) -> None:
    if form == "json":
        print(json.dumps(pivot_figures(records, rows, columns), indent=2))
    elif form == "csv":
        print(as_csv(flat(pivot_figures(records, rows, columns))), end="")
    else:
        head, body, notes = pivot_table(records, rows, columns)
        print_table(head, body, [what_figures_are(records), *notes], form)


def _with_keys(records: list[Record], *given: str | None) -> tuple[list[Record], list[str], list[str]]:
    """Return the records with the keys that a pivot asks for, and those keys; dotted ones are of the config."""
    rows, columns = ([key.strip() for key in (keys or "").split(",") if key.strip()] for keys in given)
    known = _known(records)
    if any("." in key for key in (*rows, *columns)):
        records = with_settings(records)
        known = _known(records)
    for key in (*rows, *columns):
        if key not in known:
            plain = ", ".join(name for name in known if "." not in name)
            raise UserError(
                f"'{key}' is no key of a result ({plain}) or of a config, such as algo.inner_lr."
                + did_you_mean(key, known)
            )
    return records, rows, columns


def _known(records: list[Record]) -> list[str]:
    tables = {key for record in records for key, value in record.items() if isinstance(value, list | dict)}
    return sorted({key for record in records for key in record} - tables)
