"""Forest plots, results against cost, and ranks: from the records of runs to files."""

from collections.abc import Sequence
from pathlib import Path

from metarun.errors import UserError, counted
from metarun.reporting.configurations import (
    COSTS,
    Configuration,
    configurations,
    in_every_setting,
    marked_name,
    on_the_front,
    setting_title,
)
from metarun.reporting.interval_rows import RANKS, forest_row, friedman_text, rank_rows
from metarun.reporting.plots.curve import SERIES
from metarun.reporting.plots.from_records import common_metric, mean_note, tasks_text, transductive_note
from metarun.reporting.plots.pareto import Point, draw_pareto
from metarun.reporting.plots.row_chart import RowPanel, draw_rows
from metarun.reporting.plots.style import write_figure
from metarun.reporting.tables.render import print_skipped
from metarun.reporting.tables.rows import UNEQUAL
from metarun.results.records import Record


def write_forest(records: Sequence[Record], path: Path, width: float | None = None) -> None:
    """Draw the result of each configuration with its intervals, the best first, one panel per test setting.

    Raises:
        UserError: the runs have different metrics, the width is too small, or the file cannot be written.
    """
    metric = common_metric(records)
    settings = configurations(records)
    panels = [RowPanel(setting_title(found), [forest_row(each) for each in found]) for found in settings]
    notes = [f"Thick: 95 % interval over {tasks_text(records)} meta-test tasks, for these trainings (Student t)."]
    if any(len(each.runs) > 1 for found in settings for each in found):
        notes.append("Thin: for new tasks and new trainings, where there are several seeds.")
    write_figure(path, lambda: draw_rows(panels, metric.title, notes + _mark_notes(settings), width))


def write_pareto(records: Sequence[Record], cost: str, path: Path, width: float | None = None) -> None:
    """Draw results against one of `COSTS`, one panel per test setting."""
    metric = common_metric(records)
    settings = configurations(records)
    panels, not_drawn, without = [], 0, []
    for found in settings:
        points, unknown = pareto_points(found, cost)
        if unknown:
            without.append(f"{counted(unknown, 'configuration')} of {setting_title(found)} without {cost}")
        not_drawn += max(0, len(points) - SERIES)
        if points:
            panels.append((setting_title(found), points[:SERIES]))
    if not panels:
        raise UserError(f"none of these runs has {cost}", "choose another --cost, or repeat a run with force=true.")
    for reason in without:
        print_skipped(reason)
    devices = sorted({record["device"] for record in records})
    on = f", on {' and '.join(devices)}" if cost != "parameters" else ""
    notes = ["Dashed: the Pareto front; no other point is as cheap and as good."]
    notes += ["±: 95 % interval over meta-test tasks, or over tasks and trainings where there are several seeds."]
    notes += mean_note([each.runs for found in settings for each in found])
    if not_drawn:
        notes.append(f"Not drawn: {counted(not_drawn, 'configuration')}; the front and the best others are drawn.")
    notes += _mark_notes(settings)
    write_figure(path, lambda: draw_pareto(panels, COSTS[cost] + on, metric.title, notes, width))


def pareto_points(found: Sequence[Configuration], cost: str) -> tuple[list[Point], int]:
    """Return the points of the configurations of a setting, those on the front first; and how many have no cost."""
    known = [(each, value) for each in found if (value := each.cost(cost))]
    front = set(on_the_front(known))
    points = []
    for i, (each, value) in enumerate(known):
        scale, halves = each.metric.scale, each.halves
        half = halves[0] if halves[1] is None else halves[1]
        points.append(
            Point(marked_name(each), value, scale * each.mean, None if half is None else scale * half, i in front)
        )
    return sorted(points, key=lambda point: not point.front), len(found) - len(known)


def write_ranks(records: Sequence[Record], path: Path, width: float | None = None) -> None:
    """Draw the average ranks of methods over the test settings."""
    from metarun.reporting.ranks import rank_methods  # takes a second to import

    settings = configurations(records)
    names, scores = in_every_setting(settings)
    if len(settings) < 2 or len(names) < 2:
        raise UserError(
            f"ranks need at least 2 methods that were tested in each of at least 2 settings but these runs have "
            f"{counted(len(settings), 'setting')} and {counted(len(names), 'method')} tested in each",
            "select other runs, or use `metarun plot forest`.",
        )
    others = {each.name for found in settings for each in found} - set(names)
    if others:
        print_skipped(f"not tested in every setting, or with diverged tasks: {', '.join(sorted(others))}")
    ranks = rank_methods(scores)
    rows = rank_rows(names, ranks)
    notes = [f"{len(settings)} settings; {friedman_text(ranks)}.", RANKS]
    write_figure(path, lambda: draw_rows([RowPanel("", rows)], "average rank (1: best)", notes, width))


def _mark_notes(settings: Sequence[Sequence[Configuration]]) -> list[str]:
    every = [each for found in settings for each in found]
    notes = transductive_note([record for each in every for record in each.runs])
    return notes + ([UNEQUAL[1]] if any(each.unequal for each in every) else [])
