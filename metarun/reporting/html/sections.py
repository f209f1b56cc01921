"""The charts of runs that were judged on equal tasks: only these can be drawn over each other."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from metarun.reporting.html.axes import TINY
from metarun.reporting.html.charts import (
    Histogram,
    Series,
    heat_map,
    histograms,
    line_chart,
    scatter,
)
from metarun.reporting.html.run_files import DrawnRun, Floats, read
from metarun.results.metrics import metric_of
from metarun.results.records import Record, excludes_diverged
from metarun.results.statistics import calibration, mean_and_ci95

DRAWN = 8  # runs in one chart, as many as there are colours
WORST = 0.05  # of the tasks are marked
BINS = 40


@dataclass(frozen=True)
class Chart:
    """A drawing with what is said about it."""

    title: str
    drawing: Markup
    note: str


@dataclass(frozen=True)
class Setting:
    """Runs on one data set with equal way, shot and queries; some of them drawn."""

    title: str
    note: str
    runs: list[DrawnRun]
    charts: list[Chart]


def settings_of(
    records: Sequence[Record], names: Callable[[Sequence[Record]], list[str]]
) -> tuple[list[Setting], list[str]]:
    """Group the runs by what they were judged on, in the table's order; read and draw them.

    Args:
        records: of finished runs.
        names: of some runs that are drawn together, by what tells them apart.

    Returns:
        The settings, and a sentence for each file that cannot be read.
    """
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        keys = ("test_data", "test_way", "test_shot", "test_query")
        groups.setdefault((*(record[key] for key in keys), metric_of(record)), []).append(record)
    settings, left_out = [], []
    for group in groups.values():
        runs = []
        for i, (record, name) in enumerate(_drawn(group, names)):
            run, sentences = read(record, name, i)
            runs.append(run)
            left_out += sentences
        settings.append(Setting(_title(group[0]), _note(group, runs), runs, list(_charts(runs))))
    return settings, left_out


def _drawn(group: Sequence[Record], names: Callable[[Sequence[Record]], list[str]]) -> list[tuple[Record, str]]:
    """Choose the runs that are drawn: the best of each method, then the second best of each, and so on."""
    seen: dict[str, int] = {}
    ranks = []
    for record in group:
        seen[record["algo"]] = rank = seen.get(record["algo"], 0) + 1
        ranks.append(rank)
    chosen = [group[i] for i in sorted(sorted(range(len(group)), key=lambda i: ranks[i])[:DRAWN])]
    return list(zip(chosen, names(chosen), strict=True))


def _title(record: Record) -> str:
    return f"{record['test_data']}, {metric_of(record).setting.format_map(record)}"


def _note(group: Sequence[Record], runs: Sequence[DrawnRun]) -> str:
    told = [f"{group[0]['test_query']} {metric_of(group[0]).queries}"]
    if len(group) > len(runs):
        told.append(f"{len(runs)} of {len(group)} runs are drawn, the best of each method first")
    if len({record.get("stream_hash") for record in group}) > 1:
        told.append("not all of these runs were judged on the very same tasks")
    without = [f"{run.record['diverged']:,} of {run.name}" for run in runs if excludes_diverged(run.record)]
    if without:
        told.append(f"tasks that diverged are not drawn ({', '.join(without)})")
    return "; ".join(told) + "."


def _charts(runs: Sequence[DrawnRun]) -> Iterator[Chart]:
    judged = [(run, run.by_step) for run in runs if run.by_step is not None]
    trained = [run for run in runs if run.curve is not None]
    if judged:
        yield from _adaptation(judged)
    if trained:
        yield from _training(trained)
    if judged:
        yield _distribution(judged)
        if sure := [(run, by_step[-1], run.confidence) for run, by_step in judged if run.confidence is not None]:
            yield _calibration(sure)


def _adaptation(judged: Sequence[tuple[DrawnRun, Floats]]) -> Iterator[Chart]:
    metric = metric_of(judged[0][0].record)
    steps: list[Series] = []
    times: list[Series] = []
    for run, by_step in judged:
        means, halves = zip(*map(mean_and_ci95, by_step), strict=True)
        half = None if None in halves else halves
        taken = len(means) - 1
        ms = float(run.record["adapt_ms"])
        along = [ms * step / taken for step in range(taken + 1)] if taken else [ms]
        steps.append(Series(run.name, run.colour, range(taken + 1), means, half))
        times.append(Series(run.name, run.colour, along, means, half))
    look = {"limits": (0.0, metric.scale * metric.max_value), "reference": _floor([run.record for run, _ in judged])}
    if any(len(each.x) > 1 for each in steps):
        yield Chart(
            "Adaptation by step",
            line_chart(steps, "inner steps", metric.axis, **look),  # type: ignore[arg-type]
            "Mean over the meta-test tasks with its 95 % interval; a single dot: a method that takes no steps.",
        )
    yield Chart(
        "Adaptation by time",
        line_chart(times, "ms for one task", metric.axis, from_zero=True, **look),  # type: ignore[arg-type]
        "The measured time of one task, spread evenly over its steps.",
    )


def _floor(records: Sequence[Record]) -> tuple[str, float] | None:
    """The floor, where it is the same for all."""
    metric = metric_of(records[0])
    floors = {record.get(metric.floor) for record in records}
    if len(floors) != 1 or not isinstance(floor := floors.pop(), float):
        return None
    return "floor", metric.scale * floor


def _training(runs: Sequence[DrawnRun]) -> Iterator[Chart]:
    metric = metric_of(runs[0].record)
    charts = (
        (
            "Meta-validation",
            "val",
            metric.column,
            metric.scale,
            metric.axis,
            "On meta-val, at every look; errors without tasks that diverged.",
        ),
        ("Training loss", "train", "loss", 1, "loss", "Mean over the steps since the look before."),
    )
    for title, split, column, scale, label, note in charts:
        series = []
        for run in runs:
            assert run.curve is not None
            rows = run.curve.loc[run.curve["split"] == split, ["iteration", column]].dropna()
            if len(rows):
                series.append(Series(run.name, run.colour, *(rows * [1, scale]).to_numpy().T.tolist()))
        if series:
            yield Chart(title, line_chart(series, "outer steps", label, from_zero=True), note)


def _distribution(judged: Sequence[tuple[DrawnRun, Floats]]) -> Chart:
    first = judged[0][0].record
    metric = metric_of(first)
    unbounded = math.isinf(metric.max_value)
    finals = [by_step[-1] for _, by_step in judged]
    edges = _error_edges(finals) if unbounded else _accuracy_edges(finals, first)
    rows = []
    for (run, _), values in zip(judged, finals, strict=True):
        ranked = np.sort(values)[:: 1 if metric.higher_is_better else -1]
        worst = ranked[: math.ceil(WORST * len(ranked))]
        counts, marked = (np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] for each in (values, worst))
        mean = min(float(values.mean()), edges[-1])
        note = f"worst 5 %: {worst.mean():.{2 if unbounded else 1}f}"
        rows.append(Histogram(run.name, note, run.colour, counts.tolist(), marked.tolist(), mean))
    note = "After the last step. Solid: the worst 5 % of the tasks, whose mean is written; the upright line: the mean."
    if unbounded:
        note += " Errors beyond the axis are counted in the last bar."
    return Chart("Task by task", histograms(rows, edges, metric.axis), note)


def _accuracy_edges(finals: Sequence[Floats], record: Record) -> list[float]:
    """Bins around whole numbers of right queries: others would hold now one, now two of them and look like a comb."""
    level = 100 / (record["test_way"] * record["test_query"])
    lowest = min(round(float(values.min()) / level) for values in finals)
    highest = round(100 / level)
    together = math.ceil((highest - lowest + 1) / BINS)
    bins = math.ceil((highest - lowest + 1) / together)
    return [(highest + 0.5 - (bins - i) * together) * level for i in range(bins + 1)]


def _error_edges(finals: Sequence[Floats]) -> list[float]:
    end = max(float(np.quantile(values, 0.98)) for values in finals)
    end = end if end > TINY else 1.0
    return [end * i / BINS for i in range(BINS + 1)]


def _calibration(sure: Sequence[tuple[DrawnRun, Floats, Floats]]) -> Chart:
    series = []
    for run, accuracy, confidence in sure:
        found = calibration(confidence, accuracy / 100)
        radius = 1.5 + 4.5 * np.sqrt(found.count / found.count.sum())
        label = f"{100 * found.error:.1f} {run.name}"
        x, y = (100 * found.confidence).tolist(), (100 * found.accuracy).tolist()
        series.append(Series(label, run.colour, x, y, dots=radius.tolist()))
    return Chart(
        "Calibration over tasks",
        scatter(series, "mean confidence, %", "accuracy, %"),
        "Each dot is a group of tasks of like mean confidence, not of queries; before each name the ECE over tasks, in "
        "percentage points. Below the diagonal: too sure. Within a task too sure and too unsure cancel out, so the ECE "
        "over queries can be larger.",
    )


@dataclass(frozen=True)
class SizeMap:
    """Accuracy by way and shot.

    Args:
        title: of the method, and what else tells it from others.
        cells: (way, shot) → accuracy in percent, and what is written of it.
    """

    title: str
    cells: Mapping[tuple[int, int], tuple[float, Sequence[str]]]


def heat_maps_of(maps: Sequence[SizeMap]) -> list[Chart]:
    """Draw those that have at least two cells, in one scale of colours."""
    maps = [each for each in maps if len(each.cells) > 1]
    every = [value for each in maps for value, _ in each.cells.values()]
    return [Chart(each.title, heat_map(each.cells, (min(every), max(every))), "") for each in maps]
