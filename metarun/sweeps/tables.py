"""What a sweep leaves behind: its runs in one table, by way and shot too, for people and for programs."""

from pathlib import Path

from metarun.errors import UserError
from metarun.reporting.tables.pivot import pivot_table
from metarun.reporting.tables.render import as_text, leave_out, print_table
from metarun.reporting.tables.rows import markdown, print_rows, rows_as_csv, sorted_rows, what_figures_are
from metarun.reporting.tables.run_labels import SIZES, with_panels
from metarun.results.records import Record, read_records
from metarun.system.atomic_write import write_text


def write_tables(folder: Path, runs: list[Path]) -> None:
    """Write what a sweep's finished runs found, and print it.

    `table.csv` holds every key; `table.md` the table, and, where there is more than one way or shot, the figures by way
    and shot, which `heatmap.png` draws.

    Args:
        folder: of the sweep, `results/sweeps/<name>`.
        runs: directories of finished runs; fewer than two make no table.
    """
    records, _ = read_records(sorted(set(runs)))
    if len(records) < 2:
        return
    records = sorted_rows(records)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.csv", rows_as_csv(records))
    print_rows(records, "table")
    heatmap = folder / "heatmap.png"
    heatmap.unlink(missing_ok=True)  # of a sweep before this one, where the user chose the name
    text = markdown(records)
    if len({tuple(record[key] for key in SIZES) for record in records}) > 1:
        text += "\n" + _by_sizes(records)
        from metarun.reporting.plots.from_records import write_heatmap  # matplotlib, which other sweeps do without

        try:
            write_heatmap(records, heatmap)
        except UserError as error:  # accuracies and squared errors share no scale
            leave_out(f"{heatmap}: {error}")
    write_text(folder / "table.md", text)
    print(f"→ {folder}")


def _by_sizes(records: list[Record]) -> str:
    """Print the figures by way and shot, and return them as Markdown."""
    told, rows = with_panels(records)
    head, body, notes = pivot_table(told, rows, SIZES)
    print_table(head, body, notes, "table")
    return as_text(head, body, [what_figures_are(records), *notes], "md")
