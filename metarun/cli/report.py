"""`metarun report`: one page of all runs that works opened from a file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.cli.parser import WordParser
from metarun.errors import UserError
from metarun.reporting.tables.render import leave_out
from metarun.reporting.tables.rows import all_columns, finished_rows
from metarun.reporting.tables.run_labels import names
from metarun.reporting.tables.size_panels import size_panels
from metarun.results.metrics import ACCURACY, metric_of
from metarun.results.records import Record
from metarun.system.atomic_write import write_bytes

if TYPE_CHECKING:
    from metarun.reporting.html import SizeMap

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

    from metarun.reporting.html import Table, render  # jinja2, pillow: not for a mistyped path

    try:
        maps, meanings = _size_maps(records)
    except UserError as error:  # such as copies of one run: all else can be shown
        maps, meanings = [], []
        leave_out(f"figures by way and shot: {error}")
    page, left_out = render(records, Table(*all_columns(records, math.inf)), _short_names, maps, meanings)
    for sentence in left_out:
        leave_out(sentence)
    try:
        write_bytes(options.output, page.encode("utf-8", "replace"))  # a path may hold bytes that are no UTF-8
    except UserError as error:
        raise UserError(f"{str(error).partition(';')[0]}", "name another file with -o.") from None
    runs = "1 run" if len(records) == 1 else f"{len(records):,} runs"
    print(f"→ {options.output} ({runs}, {options.output.stat().st_size / 1e6:.1f} MB)")
    return 0


def _size_maps(records: list[Record]) -> "tuple[list[SizeMap], list[str]]":
    """Return accuracies by way and shot, as they are written, and what their signs mean."""
    from metarun.reporting.html import SizeMap

    panels, meanings = size_panels([record for record in records if metric_of(record) is ACCURACY])
    maps = [
        SizeMap(
            panel.title,
            {size: (100 * cell.figure.mean, cell.lines(ACCURACY.brief_digits)) for size, cell in panel.cells.items()},
        )
        for panel in panels
    ]
    return maps, meanings


def _short_names(records: Sequence[Record]) -> list[str]:
    """Name runs as charts have room for."""
    return [name.replace(", ", " ") for name in names(records, with_ids=True)]
