"""The charts of runs with the same test setting: only these can be drawn together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metarun.reporting.configurations import Configuration, marked_name, setting_title
from metarun.reporting.html.axes import TINY, widened
from metarun.reporting.html.charts import Histogram, Series, histograms, line_chart, scatter
from metarun.reporting.html.comparison import charts_over_settings, compared_charts
from metarun.reporting.html.entries import DRAWN, KEPT, Chart
from metarun.reporting.html.heat_map import Cell, heat_map
from metarun.reporting.html.probabilities import class_table, probability_table
from metarun.reporting.html.run_files import DrawnRun, Floats, read_all
from metarun.reporting.pairwise import compare_all, headline, headline_places
from metarun.results.metrics import RETURN, best_floor, metric_of
from metarun.results.records import Record, excludes_diverged
from metarun.results.statistics import calibration, mean_and_ci95
from metarun.system.ranges import ends

WORST = 0.05  # fraction of the tasks that is marked
BINS = 40


@dataclass(frozen=True)
class Setting:
    """Runs on one data set with the same way, shot and queries.

    Args:
        title: the setting.
        note: on what is drawn.
        headline: which method is better; None for a single configuration.
        headline_rows: of the table, which it compares.
        runs: those that are drawn, or can be: the mean over seeds of each configuration.
        charts: of the runs.
    """

    title: str
    note: str
    headline: str | None
    headline_rows: Sequence[int]
    runs: list[DrawnRun]
    charts: list[Chart]


def settings_of(groups: Sequence[Sequence[Configuration]]) -> tuple[list[Setting], list[Chart], list[str]]:
    """Read and draw the configurations of each test setting.

    Args:
        groups: as `configurations` returns them.

    Returns:
        The settings; charts over several settings; and a message for each file that cannot be read.
    """
    settings, skipped, compared = [], [], []
    for group in groups:
        found = _drawn(group)
        runs = []
        for i, each in enumerate(found):
            run, errors = read_all(each.runs, marked_name(each).replace(", ", " "), each.row, i)
            runs.append(run)
            skipped += errors
        pairs = compare_all(found[:DRAWN])
        compared.append((found[:DRAWN], pairs))
        charts = [*compared_charts(found, pairs), *_charts(runs)]
        charts += filter(None, (probability_table(found), class_table(runs[0])))
        rows = [found[i].row for i in headline_places(found)]
        settings.append(Setting(setting_title(group), _note(group, runs), headline(found, pairs), rows, runs, charts))
    return settings, list(charts_over_settings(groups, compared)), list(dict.fromkeys(skipped))


def _drawn(group: Sequence[Configuration]) -> list[Configuration]:
    """Choose what can be drawn, in that order: the best of each method, then the second best of each, and so on.

    The charts show the first 8 at first; a filter brings the others into them.
    """
    seen: dict[str, int] = {}
    ranks = []
    for each in group:
        algo = each.runs[0]["algo"]
        seen[algo] = rank = seen.get(algo, 0) + 1
        ranks.append(rank)
    ordered = sorted(range(len(group)), key=lambda i: ranks[i])
    return [group[i] for i in (*sorted(ordered[:DRAWN]), *ordered[DRAWN:KEPT])]


def _note(group: Sequence[Configuration], runs: Sequence[DrawnRun]) -> str:
    first = group[0].runs[0]
    parts = [f"{first['test_query']} {group[0].metric.queries}"]
    if len(group) > DRAWN:
        parts.append(f"{DRAWN} of {len(group)} configurations are drawn, the best of each method first")
        others = "others" if len(group) <= KEPT else f"the first {KEPT}"
        parts.append(f"filter the table to see {others}")
    if seeds := sorted({len(each.runs) for each in group} - {1}):
        parts.append(f"means over {' or '.join(map(str, seeds))} seeds")
    if len({record.get("stream_hash") for each in group for record in each.runs}) > 1:
        parts.append("not all of these runs were tested on the same tasks")
    without = [f"{run.record['diverged']:,} of {run.name}" for run in runs if excludes_diverged(run.record)]
    if without:
        parts.append(f"tasks that diverged are not drawn ({', '.join(without)})")
    return "; ".join(parts) + "."


def _charts(runs: Sequence[DrawnRun]) -> Iterator[Chart]:
    tested = [(run, run.by_step) for run in runs if run.by_step is not None]
    trained = [run for run in runs if run.curve is not None]
    if tested:
        yield from _adaptation(tested)
    if trained:
        yield from _training(trained)
    if tested:
        yield _distribution(tested)
        if confident := [(run, by_step[-1], run.confidence) for run, by_step in tested if run.confidence is not None]:
            yield _calibration(confident)


def _adaptation(tested: Sequence[tuple[DrawnRun, Floats]]) -> Iterator[Chart]:
    metric = metric_of(tested[0][0].record)
    by_steps: list[Series] = []
    by_time: list[Series] = []
    for run, by_step in tested:
        means, halves = zip(*map(mean_and_ci95, by_step), strict=True)
        half = None if None in halves else halves
        steps = len(means) - 1
        ms = float(run.record["adapt_ms"])
        times = [ms * step / steps for step in range(steps + 1)] if steps else [ms]
        by_steps.append(Series(run.name, run.row, run.place, range(steps + 1), means, half))
        by_time.append(Series(run.name, run.row, run.place, times, means, half))
    limits = (metric.scale * metric.min_value, metric.scale * metric.max_value)
    style = {"limits": limits, "reference": _floor([run.record for run, _ in tested])}
    if any(len(each.x) > 1 for each in by_steps):
        yield Chart(
            "Adaptation by step",
            line_chart(by_steps, "inner steps", metric.axis, **style),  # type: ignore[arg-type]
            "Mean over the meta-test tasks with its 95 % interval; a single dot is a method without inner steps.",
            curve=True,
        )
    yield Chart(
        "Adaptation by time",
        line_chart(by_time, "ms per task", metric.axis, from_zero=True, **style),  # type: ignore[arg-type]
        "The measured time per task, spread evenly over its steps.",
        "ms/task",
        curve=True,
    )


def _floor(records: Sequence[Record]) -> tuple[str, float] | None:
    """The floor, if it is the same for all runs."""
    metric = metric_of(records[0])
    floors = {found[0] if (found := best_floor(record)) else None for record in records}
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
            "On meta-val, at every validation; errors exclude tasks that diverged. Meta-val has other classes than "
            "meta-test, which may be easier or harder, so the two differ even without overfitting.",
        ),
        ("Training loss", "train", "loss", 1, "loss", "Mean over the steps since the previous validation."),
    )
    for title, split, column, scale, label, note in charts:
        series = []
        for run in runs:
            assert run.curve is not None
            rows = run.curve.loc[run.curve["split"] == split, ["iteration", column]].dropna()
            if len(rows):
                series.append(Series(run.name, run.row, run.place, *(rows * [1, scale]).to_numpy().T.tolist()))
        if series:
            yield Chart(title, line_chart(series, "outer steps", label, from_zero=True), note, curve=True)


def _distribution(tested: Sequence[tuple[DrawnRun, Floats]]) -> Chart:
    first = tested[0][0].record
    metric = metric_of(first)
    unbounded = math.isinf(metric.max_value)
    finals = [by_step[-1] for _, by_step in tested]
    edges = _edges(finals, first)
    rows = []
    for (run, _), values in zip(tested, finals, strict=True):
        ranked = np.sort(values)[:: 1 if metric.higher_is_better else -1]
        worst = ranked[: math.ceil(WORST * len(ranked))]
        counts, marked = (np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] for each in (values, worst))
        mean = float(np.clip(values.mean(), edges[0], edges[-1]))
        note = f"worst 5 %: {worst.mean():.{2 if unbounded else 1}f}"
        rows.append(Histogram(run.name, note, run.row, run.place, counts.tolist(), marked.tolist(), mean))
    note = "After the last step. Solid: the worst 5 % of the tasks, with their mean; vertical line: the overall mean."
    if unbounded:
        both = metric is RETURN
        note += " The first and last bars include" if both else " The last bar includes"
        note += " returns beyond the axis." if both else " errors beyond the axis."
    return Chart("Task by task", histograms(rows, edges, metric.axis), note)


def _edges(finals: Sequence[Floats], record: Record) -> list[float]:
    metric = metric_of(record)
    if metric is RETURN:
        return _return_edges(finals)
    return _error_edges(finals) if math.isinf(metric.max_value) else _accuracy_edges(finals, record)


def _accuracy_edges(finals: Sequence[Floats], record: Record) -> list[float]:
    """Bins around multiples of one correct query: others would alternately hold one and two and look like a comb."""
    level = 100 / (ends(record["test_way"])[1] * record["test_query"])
    lowest = min(round(float(values.min()) / level) for values in finals)
    highest = round(100 / level)
    together = math.ceil((highest - lowest + 1) / BINS)
    bins = math.ceil((highest - lowest + 1) / together)
    return [(highest + 0.5 - (bins - i) * together) * level for i in range(bins + 1)]


def _return_edges(finals: Sequence[Floats]) -> list[float]:
    """Bins from the worst returns to the best, without a few outliers."""
    low = min(float(np.quantile(values, 0.02)) for values in finals)
    high = max(float(np.quantile(values, 0.98)) for values in finals)
    low, high = widened(low, high, 0.0)
    return [low + (high - low) * i / BINS for i in range(BINS + 1)]


def _error_edges(finals: Sequence[Floats]) -> list[float]:
    end = max(float(np.quantile(values, 0.98)) for values in finals)
    end = end if end > TINY else 1.0
    return [end * i / BINS for i in range(BINS + 1)]


def _calibration(confident: Sequence[tuple[DrawnRun, Floats, Floats]]) -> Chart:
    series = []
    for run, accuracy, confidence in confident:
        found = calibration(confidence, accuracy / 100)
        radius = 1.5 + 4.5 * np.sqrt(found.count / found.count.sum())
        label = f"{100 * found.error:.1f} {run.name}"
        x, y = (100 * found.confidence).tolist(), (100 * found.accuracy).tolist()
        series.append(Series(label, run.row, run.place, x, y, dots=radius.tolist()))
    return Chart(
        "Calibration over tasks",
        scatter(series, "mean confidence, %", "accuracy, %"),
        "Each dot is a group of tasks (not queries) with similar mean confidence; the number before a name is the ECE "
        "over tasks, in percentage points. Below the diagonal: overconfident. Over- and underconfidence within a task "
        "cancel out, so the ECE over queries can be larger.",
    )


@dataclass(frozen=True)
class SizeMap:
    """Accuracy by way and shot.

    Args:
        title: the method, with the settings that distinguish it.
        cells: by (way, shot).
    """

    title: str
    cells: Mapping[tuple[int | str, int | str], Cell]


def heat_maps_of(maps: Sequence[SizeMap]) -> list[Chart]:
    """Draw the maps with at least two cells, on one colour scale."""
    maps = [each for each in maps if len(each.cells) > 1]
    every = [value for each in maps for value, *_ in each.cells.values()]
    return [Chart(each.title, heat_map(each.cells, (min(every), max(every))), "") for each in maps]
