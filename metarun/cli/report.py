"""`metarun report`: one self-contained HTML page of all runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metarun.cli.output import named_by_flag
from metarun.cli.parser import CommandParser
from metarun.errors import UserError, counted
from metarun.reporting.tables.render import print_skipped
from metarun.reporting.tables.rows import all_columns, by_configuration, finished_rows
from metarun.reporting.tables.size_panels import size_panels
from metarun.results.metrics import ACCURACY, metric_of
from metarun.results.records import Record
from metarun.system.atomic_write import write_bytes

if TYPE_CHECKING:
    from metarun.reporting.html import SizeMap

EXAMPLES = """examples:
  metarun report                                       every run under results/, to report.html
  metarun report results/runs/*omniglot* -o omniglot.html"""


def main(args: Sequence[str]) -> int:
    """Write the page and return the exit code."""
    parser = CommandParser.with_examples(
        "metarun report",
        "Write one HTML page of finished runs: table, curves, example tasks. It works offline.",
        EXAMPLES,
    )
    parser.add_paths()
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")
    options = parser.parse_args(args)
    records = finished_rows(options.paths)

    from metarun.reporting.html import Table, render  # slow: jinja2, pillow

    groups = by_configuration(records)
    try:
        maps, meanings = _size_maps(records, groups)
    except UserError as error:  # for example, copies of one run; the rest can be shown
        maps, meanings = [], []
        print_skipped(f"heatmaps by way and shot: {error}")
    each_seed = [[record] for record in records]
    table, seeds = (Table(*all_columns(each, math.inf), each) for each in (groups, each_seed))
    page, skipped = render(records, table, seeds if len(groups) < len(records) else None, maps, meanings)
    for reason in skipped:
        print_skipped(reason)
    with named_by_flag():
        write_bytes(options.output, page.encode("utf-8", "replace"))  # a path may contain bytes that are not UTF-8
    print(f"→ {options.output} ({counted(len(records), 'run')}, {options.output.stat().st_size / 1e6:.1f} MB)")
    return 0


def _size_maps(records: list[Record], groups: Sequence[Sequence[Record]]) -> "tuple[list[SizeMap], list[str]]":
    """Return the accuracy heatmaps by way and shot, and what their marks mean."""
    from metarun.reporting.html import SizeMap

    rows = {_place(record): row for row, group in enumerate(groups) for record in group}
    panels, meanings = size_panels([record for record in records if metric_of(record) is ACCURACY])
    maps = [
        SizeMap(
            panel.title,
            {
                size: (
                    cell.value,
                    cell.lines(ACCURACY.brief_digits),
                    sorted({rows[_place(record)] for record in cell.runs}),
                )
                for size, cell in panel.cells.items()
            },
        )
        for panel in panels
    ]
    return maps, meanings


def _place(record: Record) -> tuple[object, ...]:
    """Return what only one row has: its folder and, of a row for one of several data sets, which one."""
    return record["path"], str(record.get("set_place"))
