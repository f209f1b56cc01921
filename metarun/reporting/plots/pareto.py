"""Results against cost, with the Pareto front and a label beside each point."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from metarun.reporting.label_placement import spread
from metarun.reporting.plots.curve import COLOURS, MARKERS
from metarun.reporting.plots.style import (
    COLUMN,
    GREY,
    HINTED,
    LINE,
    SMALL,
    note_lines,
    text_width,
    wrapped,
    write_notes,
)

# In inches.
LEFT, TOP, BELOW, GAP = 0.58, 0.08, 0.38, 0.1
LEADER = 0.16


@dataclass(frozen=True)
class Point:
    """One method: its label, its cost, its result, the half-width of its interval, and whether it is on the front."""

    label: str
    cost: float
    value: float
    half: float | None
    front: bool


def draw_pareto(
    panels: Sequence[tuple[str, Sequence[Point]]], x_name: str, y_name: str, notes: Sequence[str], width: float | None
) -> Figure:
    """Draw panels below each other.

    Args:
        panels: each a title and at most `curve.SERIES` points, whose costs are above 0.
        x_name: of the cost, which is on a logarithmic axis.
        y_name: of the result.
        notes: lines at the foot, wrapped if they are too long.
        width: of the figure in inches; None: a paper's column.
    """
    width = width or COLUMN
    lines = note_lines(notes, width)
    labels = [[wrapped(point.label, 0.33 * width) for point in points] for _, points in panels]
    right = (
        LEADER
        + 0.08
        + HINTED * max(text_width(line) for each in labels for label in each for line in label.splitlines())
    )
    titles = [wrapped(title, width - 0.2) if title else "" for title, _ in panels]
    above = [TOP + (1.1 * LINE * (title.count("\n") + 1) if title else 0) for title in titles]
    heights = [max(0.5 * width, len(each) * _distance(each)) for each in labels]
    foot = LINE * len(lines) + 0.06
    height = sum(above) + sum(heights) + (BELOW + GAP) * len(panels) - GAP + foot
    figure = Figure((width, height))
    top = height
    for (_, points), names, title, over, tall in zip(panels, labels, titles, above, heights, strict=True):
        top -= over
        axes = figure.add_axes((LEFT / width, (top - tall) / height, (width - LEFT - right) / width, tall / height))
        figure.text(0.05 / width, (top + 0.04) / height, title, size=SMALL + 0.5, va="bottom")
        _draw_points(axes, points)
        _write_labels(axes, points, names, tall)
        axes.set(xlabel=x_name, ylabel=y_name)
        top -= tall + BELOW + GAP
    write_notes(figure, lines)
    return figure


def _distance(labels: Sequence[str]) -> float:
    """The distance in inches between two labels."""
    return LINE * max(label.count("\n") + 1 for label in labels) + 0.02


def _draw_points(axes: Axes, points: Sequence[Point]) -> None:
    front = sorted((point.cost, point.value) for point in points if point.front)
    axes.step(*zip(*front, strict=True), where="post", color=GREY, linewidth=0.8, linestyle="--")
    for i, point in enumerate(points):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.errorbar(
            [point.cost], [point.value], point.half, color=colour, marker=marker, markersize=4, linewidth=1, capsize=1.5
        )
    axes.set_xscale("log")
    low, high = min(point.cost for point in points), max(point.cost for point in points)
    axes.set_xlim(low / 1.4, high * 1.4)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,), numticks=6))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.1)
    axes.grid(linewidth=0.4, alpha=0.4)


def _write_labels(axes: Axes, points: Sequence[Point], labels: Sequence[str], tall: float) -> None:
    """Write the labels to the right of the axes, in the order of the points from the bottom, with leader lines."""
    low, high = axes.get_ylim()
    order = sorted(range(len(points)), key=lambda i: points[i].value)
    distance = _distance(labels) / tall
    wanted = [(points[i].value - low) / (high - low) for i in order]
    across = LEADER / axes.get_window_extent().width * axes.figure.dpi
    for i, at, place in zip(order, wanted, spread(wanted, distance, distance / 2, 1 - distance / 2), strict=True):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(
            (1, 1 + across), (at, place), color=colour, linewidth=0.6, transform=axes.transAxes, clip_on=False, ls=":"
        )
        axes.plot(
            (points[i].cost, axes.get_xlim()[1]), (points[i].value,) * 2, color=colour, linewidth=0.6, linestyle=":"
        )
        axes.text(1 + across, place, " " + labels[i], size=SMALL, color=colour, va="center", transform=axes.transAxes)
