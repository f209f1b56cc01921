"""Convert the records of runs to the numbers that the plots draw."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metarun.errors import UserError
from metarun.reporting.plots.curve import Curve
from metarun.reporting.plots.heatmap import draw_heatmap
from metarun.reporting.plots.style import write_figure
from metarun.reporting.tables.flags import TRANSDUCTIVE
from metarun.reporting.tables.run_labels import label
from metarun.reporting.tables.size_panels import size_panels
from metarun.results.metrics import Metric, metric_of
from metarun.results.records import Record, figures_by_step
from metarun.results.statistics import mean_and_ci95

MILLISECONDS = "milliseconds"


def curve_of(record: Record, keys: Sequence[str], in_steps: bool) -> Curve:
    """Return the adaptation curve of a run, labelled by `keys`, over steps or milliseconds."""
    scale = metric_of(record).scale
    by_step = [mean_and_ci95(scale * figures) for figures in figures_by_step(record)]
    x = np.arange(len(by_step), dtype=np.float64)
    if not in_steps:  # a method without steps has one point
        x = record["adapt_ms"] * (x / x[-1] if x[-1] else x + 1)
    mean, half = (np.array(values, dtype=np.float64) for values in zip(*by_step, strict=True))
    name = label(record, keys) + (" †" if record["transductive"] else "")
    return Curve(name, x, mean, None if np.isnan(half).any() else half)


def write_heatmap(records: Sequence[Record], path: Path, width: float | None = None) -> None:
    """Draw results by way and shot, one panel per method and settings, averaged over seeds; see `draw_heatmap`.

    Raises:
        UserError: the runs have different metrics, or `path` does not end in png, svg or pdf or cannot be written.
    """
    metric = common_metric(records)
    panels, meanings = size_panels(records)
    notes = _interval_notes([cell.runs for panel in panels for cell in panel.cells.values()]) + meanings
    write_figure(path, lambda: draw_heatmap(panels, metric, notes, width))


def _interval_notes(cells: Sequence[list[Record]]) -> list[str]:
    tasks = tasks_text([runs[0] for runs in cells])
    notes = [f"±: 95 % interval over {tasks} meta-test tasks (Student t)."]
    seeds = sorted({len(runs) for runs in cells} - {1})
    if seeds:
        count = " or ".join(map(str, seeds))
        notes.append(f"Mean over {count} seeds; sd: the standard deviation over the seeds, not included in ±.")
    return notes


def common_metric(records: Sequence[Record]) -> Metric:
    """Return the metric of all runs.

    Raises:
        UserError: the runs have different metrics.
    """
    metrics = set(map(metric_of, records))
    if len(metrics) > 1:
        raise UserError("these runs mix accuracy and squared error", "select runs with the same metric.")
    return metrics.pop()


def tasks_text(records: Sequence[Record]) -> str:
    """Write the number of meta-test tasks of some runs, or its range."""
    counts = sorted({record["test_tasks"] for record in records})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def transductive_note(records: Sequence[Record]) -> list[str]:
    """Return the note on †, if any run is transductive."""
    return [TRANSDUCTIVE] if any(record["transductive"] for record in records) else []
