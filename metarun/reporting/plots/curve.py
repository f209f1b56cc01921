"""Adaptation curves: accuracy or error during adaptation, one line with its band per run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from metarun.reporting.plots.style import COLUMN, LINE, note_lines, text_width, wrapped, write_notes

# Okabe and Ito's colour-blind safe palette, without yellow, which is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--")
SERIES = 8  # in a chart, at most
MARKS = 12  # per line, at most

LEFT, RIGHT, TOP = 0.5, 0.1, 0.08  # margins in inches
TALLEST = 2.8
BELOW = 0.38  # for the ticks and the name of the x axis
HANDLE = 0.42  # the line sample before a label in the legend, with its padding


@dataclass(frozen=True)
class Curve:
    """One run, or the mean of several that differ only in their seed.

    Args:
        label: its name in the legend.
        x: (steps + 1,) inner steps taken, or milliseconds; (1,) for a method without steps.
        mean: (steps + 1,) over tasks, in the unit of the plot.
        half: (steps + 1,) half-widths of its 95 % intervals; None for a single task.
    """

    label: str
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    half: NDArray[np.float64] | None


def draw_curves(
    curves: Sequence[Curve], x_name: str, y_name: str, notes: Sequence[str], steps_on_x: bool, width: float | None
) -> Figure:
    """Draw one line per curve with a band around it, and the legend below.

    Args:
        curves: in the order of the legend, at most `SERIES`.
        x_name: of the x axis; `y_name` is that of the y axis.
        notes: lines at the foot, wrapped if they are too long.
        steps_on_x: draw a method without steps as a horizontal line; else as a point.
        width: of the figure in inches; None: a paper's column.
    """
    width = width or COLUMN
    lines = note_lines(notes, width)
    labels = [wrapped(curve.label, width - HANDLE - 0.1) for curve in curves]
    columns, legend = _legend_size(labels, width)
    axes_height = min(0.58 * width, TALLEST)
    foot = LINE * len(lines) + 0.06
    height = TOP + axes_height + BELOW + legend + foot
    figure = Figure((width, height))
    across, up = (width - LEFT - RIGHT) / width, axes_height / height
    axes = figure.add_axes((LEFT / width, 1 - TOP / height - up, across, up))
    end = max(float(curve.x[-1]) for curve in curves)
    shade = min(0.2, 0.8 / len(curves))  # so that overlapping bands stay translucent
    drawn = [_draw_line(axes, curve, i, steps_on_x, end, shade) for i, curve in enumerate(curves)]
    axes.set(xlabel=x_name, ylabel=y_name)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=steps_on_x))
    axes.grid(axis="y", linewidth=0.4, alpha=0.4)
    figure.legend(
        drawn,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.05 / width, foot / height),
        ncols=columns,
        frameon=False,
        handlelength=2.2,
        columnspacing=0.8,
        borderaxespad=0,
        borderpad=0,
    )
    write_notes(figure, lines)
    return figure


def _legend_size(labels: Sequence[str], width: float) -> tuple[int, float]:
    """Return the number of columns that fit, and the height of the legend in inches."""
    longest = max(text_width(line) for label in labels for line in label.splitlines())
    columns = max(1, min(len(labels), int(width / (HANDLE + longest))))
    rows = -(-len(labels) // columns)
    return columns, rows * max(label.count("\n") + 1 for label in labels) * 1.06 * LINE + 0.06


def _draw_line(axes: Axes, curve: Curve, number: int, steps_on_x: bool, end: float, shade: float) -> Line2D:
    colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
    marker = MARKERS[number % len(MARKERS)]
    x, mean, half = curve.x, curve.mean, curve.half
    if len(x) == 1 and steps_on_x:
        x, mean, half, marker = np.array([0.0, end]), mean.repeat(2), None if half is None else half.repeat(2), ""
    if len(x) == 1:
        axes.errorbar(x, mean, half, color=colour, linewidth=1.2, capsize=2)
    elif half is not None:
        axes.fill_between(x, mean - half, mean + half, color=colour, alpha=shade, linewidth=0)
    every = -(-len(x) // MARKS)
    style = f"{marker}{dashes}"
    (line,) = axes.plot(x, mean, style, color=colour, linewidth=1.2, markersize=3, markevery=every)
    return line
