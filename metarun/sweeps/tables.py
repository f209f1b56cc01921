"""The tables of a finished sweep: all runs, and results by way and shot, as CSV and Markdown."""

from pathlib import Path

from metarun.errors import UserError
from metarun.reporting.tables.pivot import pivot_table
from metarun.reporting.tables.render import as_text, print_skipped, print_table
from metarun.reporting.tables.rows import describe_interval, markdown, print_rows, rows_as_csv, sorted_rows
from metarun.reporting.tables.run_labels import SIZES, with_panels
from metarun.results.records import Record, read_records
from metarun.results.set_rows import with_set_rows
from metarun.system.atomic_write import write_text


def write_tables(folder: Path, runs: list[Path]) -> None:
    """Write and print the results of a sweep's finished runs, unless there are fewer than two.

    `table.csv` has every key. `table.md` has the table and, if there is more than one way or shot, the results by way
    and shot, which are also drawn as `heatmap.png`. They are in the sweep's folder, `results/sweeps/<name>`.
    """
    records, _ = read_records(sorted(set(runs)))
    if len(records) < 2:
        return
    records = sorted_rows(with_set_rows(records))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.csv", rows_as_csv(records))
    print_rows(records, "table")
    heatmap = folder / "heatmap.png"
    heatmap.unlink(missing_ok=True)  # from an earlier sweep with the same name
    text = markdown(records)
    if len({tuple(record[key] for key in SIZES) for record in records}) > 1:
        text += "\n" + _by_sizes(records)
        from metarun.reporting.plots.from_records import write_heatmap  # matplotlib, only needed here

        try:
            write_heatmap(records, heatmap)
        except UserError as error:  # accuracies and squared errors cannot share a scale
            print_skipped(f"{heatmap}: {error}")
    write_text(folder / "table.md", text)
    print(f"→ {folder}")


def _by_sizes(records: list[Record]) -> str:
    """Print the results by way and shot, and return them as Markdown."""
    labelled, rows = with_panels(records)
    head, body, notes = pivot_table(labelled, rows, SIZES)
    print_table(head, body, notes, "table")
    return as_text(head, body, [describe_interval(records), *notes], "md")
