"""`metarun report`: one page of all runs that works opened from a file."""

import math
from collections.abc import Sequence
from pathlib import Path

from metarun.command_line.compare import all_columns, finished_rows
from metarun.command_line.tables import leave_out
from metarun.command_line.word_parser import WordParser
from metarun.errors import UserError
from metarun.results import write_text

EXAMPLES = """examples:
  metarun report                                       every run under results/, as report.html
  metarun report results/runs/*omniglot* -o omniglot.html"""


def main(words: Sequence[str]) -> int:
    """Write the page and return the exit code.

    Raises:
        UserError: a path is not there, there is no finished run, or the page cannot be written.
    """
    parser = WordParser.with_examples(
        "metarun report",
        "Write one page of finished runs: table, curves, example tasks. It needs no network.",
        EXAMPLES,
    )
    parser.add_paths()
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")
    options = parser.parse_args(words)
    records = finished_rows(options.paths)

    from metarun.report import Table, render  # jinja2, pillow: not for a mistyped path

    page, left_out = render(records, Table(*all_columns(records, math.inf)))
    for sentence in left_out:
        leave_out(sentence)
    try:
        write_text(options.output, page)
    except OSError as error:
        raise UserError(
            f"{options.output} cannot be written ({error.strerror or error}); name another file with -o."
        ) from None
    runs = "1 run" if len(records) == 1 else f"{len(records):,} runs"
    print(f"→ {options.output} ({runs}, {len(page.encode()) / 1e6:.1f} MB)")
    return 0
