"""Convert the records of runs to the numbers that the plots draw."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError
from metarun.reporting.plots.curve import Curve
from metarun.reporting.plots.heatmap import draw_heatmap
from metarun.reporting.plots.style import write_figure
from metarun.reporting.tables.flags import TRANSDUCTIVE, share_all_tasks
from metarun.reporting.tables.run_labels import distinguishing_keys, label
from metarun.reporting.tables.size_panels import size_panels
from metarun.results.metrics import Metric, metric_of
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95

MILLISECONDS = "milliseconds"


def curve_of(readable: Sequence[tuple[Record, NDArray[np.float64]]], name: str, in_steps: bool) -> Curve:
    """Return the adaptation curve of runs that differ only in their seed, over steps or milliseconds.

    It is the mean over seeds; its band is for new tasks and these trainings. Seeds that were not tested on the same
    tasks, or not on all because some diverged, have no band.

    Args:
        readable: the runs, each with its `figures_by_step`.
        name: of the curve.
        in_steps: over steps; else over milliseconds.
    """
    runs = [record for record, _ in readable]
    scale = metric_of(runs[0]).scale
    figures = [scale * by_step for _, by_step in readable]
    if len(runs) == 1 or (share_all_tasks(runs) and len({each.shape for each in figures}) == 1):
        by_step = [mean_and_ci95(each) for each in np.mean(figures, axis=0)]
    else:
        by_step = [(float(mean), None) for mean in np.mean([each.mean(1) for each in figures], axis=0)]
    x = np.arange(len(by_step), dtype=np.float64)
    if not in_steps:  # a method without steps has one point
        x = min(record["adapt_ms"] for record in runs) * (x / x[-1] if x[-1] else x + 1)
    mean, half = (np.array(values, dtype=np.float64) for values in zip(*by_step, strict=True))
    return Curve(name, x, mean, None if np.isnan(half).any() else half)


def curve_names(groups: Sequence[Sequence[Record]]) -> list[str]:
    """Name each group of runs that differ only in their seed by the keys in which the groups differ."""
    averaged = ["seed"] if any(len(group) > 1 for group in groups) else []
    labelled, keys = distinguishing_keys([group[0] for group in groups], averaged=averaged)
    return [label(record, keys or ["algo"]) + (" †" if record["transductive"] else "") for record in labelled]


def write_heatmap(records: Sequence[Record], path: Path, width: float | None = None) -> None:
    """Draw results by way and shot, one panel per method and settings, averaged over seeds; see `draw_heatmap`.

    Raises:
        UserError: the runs have different metrics, or `path` does not end in png, svg or pdf or cannot be written.
    """
    metric = common_metric(records)
    panels, meanings = size_panels(records)
    notes = _interval_notes([cell.runs for panel in panels for cell in panel.cells.values()]) + meanings
    write_figure(path, lambda: draw_heatmap(panels, metric, notes, width))


def mean_score(runs: Sequence[Record]) -> float:
    """Return the mean result of some runs, signed so that higher is better."""
    metric = metric_of(runs[0])
    return metric.score(fmean(record[metric.key] for record in runs))


def mean_note(groups: Sequence[Sequence[Record]]) -> list[str]:
    """Return the note on how many seeds the results are means over, if any is."""
    counts = sorted({len(group) for group in groups} - {1})
    return [f"Mean over {' or '.join(map(str, counts))} seeds."] if counts else []


def _interval_notes(cells: Sequence[list[Record]]) -> list[str]:
    tasks = tasks_text([runs[0] for runs in cells])
    notes = [f"±: 95 % interval over {tasks} meta-test tasks (Student t)."]
    seeds = sorted({len(runs) for runs in cells} - {1})
    if seeds:
        count = " or ".join(map(str, seeds))
        notes.append(f"Mean over {count} seeds; sd: the standard deviation over the seeds, not included in ±.")
    return notes


def common_metric(records: Sequence[Record]) -> Metric:
    """Return the metric of all runs."""
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
