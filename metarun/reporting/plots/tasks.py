"""Example tasks: support and query pictures with predictions; for regression, points and predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from metarun.reporting.plots.style import GREY, LINE, SMALL, note_lines, write_notes
from metarun.results.example_tasks import ExampleTask, letter

RIGHT, WRONG = "#009E73", "#D55E00"  # of Okabe and Ito's colours
WIDTH = 6.8  # inches, two columns of a paper
MARGIN = 0.1
# In picture widths: the name of a class, the gap before the queries, the gap before the next task.
NAME, BETWEEN, NEXT = 0.45, 0.35, 0.4
WAVE_HEIGHT = 1.6


def draw_tasks(tasks: Sequence[ExampleTask], notes: Sequence[str], width: float | None) -> Figure:
    """Draw tasks side by side.

    Args:
        tasks: of one run, all classification or all regression.
        notes: lines at the foot, wrapped if they are too long.
        width: of the figure in inches; None: `WIDTH`.
    """
    width = width or WIDTH
    lines = note_lines(notes, width)
    foot = LINE * len(lines) + 0.1
    figure = _draw_functions(tasks, width, foot) if tasks[0].regression else _draw_pictures(tasks, width, foot)
    write_notes(figure, lines)
    return figure


def _draw_pictures(tasks: Sequence[ExampleTask], width: float, foot: float) -> Figure:
    grids = [_grid(task) for task in tasks]
    across = sum(NAME + shot + BETWEEN + queries for _, shot, queries in grids) + NEXT * (len(grids) - 1)
    side = (width - 2 * MARGIN) / across
    row = side + 1.1 * LINE
    top = LINE + MARGIN
    height = top + row * max(len(rows) for rows, *_ in grids) + foot
    figure = Figure((width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))  # inches, y points down
    axes.axis("off")
    left = MARGIN
    for task, (rows, shot, queries) in zip(tasks, grids, strict=True):
        support_left = left + NAME * side
        query_left = support_left + (shot + BETWEEN) * side
        for x, head in ((support_left, "support"), (query_left, "queries")):
            axes.text(x, top - 0.04, head, size=SMALL, color=GREY, va="bottom")
        for i, (label, support_rows, query_rows) in enumerate(rows):
            y = top + i * row
            axes.text(left, y + side / 2, letter(label), va="center")
            for j in range(len(support_rows)):
                _draw_picture(axes, task.support_x[support_rows[j]], support_left + j * side, y, side)
            for j in range(len(query_rows)):
                _draw_query(axes, task, int(query_rows[j]), query_left + j * side, y, side)
        left = query_left + (queries + NEXT) * side
    return figure


def _grid(task: ExampleTask) -> tuple[list[tuple[int, NDArray[np.int64], NDArray[np.int64]]], int, int]:
    """Return the label, support indices and query indices of each class, and the largest number of each."""
    labels = [int(label) for label in np.unique(task.support_y)]
    rows = [(label, np.flatnonzero(task.support_y == label), np.flatnonzero(task.query_y == label)) for label in labels]
    return rows, max(len(support) for _, support, _ in rows), max(len(query) for *_, query in rows)


def _draw_query(axes: Axes, task: ExampleTask, number: int, x: float, y: float, side: float) -> None:
    right = task.predicted[number] == task.query_y[number]
    colour = RIGHT if right else WRONG
    _draw_picture(axes, task.query_x[number], x, y, side)
    edge = 0.04 * side
    box = Rectangle((x + edge, y + edge), side - 2 * edge, side - 2 * edge, fill=False, edgecolor=colour, linewidth=1)
    axes.add_patch(box)
    confidence = f"{100 * task.confidence[number]:.0f}"
    text = f"✓ {confidence}" if right else f"✗ {letter(task.predicted[number])} {confidence}"
    axes.text(x + side / 2, y + side, text, size=SMALL - 1, color=colour, ha="center", va="top")


def _draw_picture(axes: Axes, picture: NDArray[Any], x: float, y: float, side: float) -> None:
    edge = 0.04 * side
    channels_last = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    extent = (x + edge, x + side - edge, y + side - edge, y + edge)
    axes.imshow(channels_last, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto", interpolation="nearest")


def _draw_functions(tasks: Sequence[ExampleTask], width: float, foot: float) -> Figure:
    named = LINE if len(tasks[0].names) else 0.0  # of an axis
    height = WAVE_HEIGHT + 2 * named + foot
    figure = Figure((width, height))
    panel = (width - MARGIN) / len(tasks)
    for i, task in enumerate(tasks):
        left, bottom = (i * panel + 0.4) / width, (foot + 0.25 + named) / height
        box = (left, bottom, (panel - 0.45) / width, (WAVE_HEIGHT - 0.35) / height)
        axes = figure.add_axes(box)
        x, truth, predicted = task.query_x[:, 0], task.query_y[:, 0], task.predicted[:, 0]
        axes.vlines(x, truth, predicted, color=WRONG, linewidth=0.6)  # the errors
        axes.plot(x, truth, "o", color=GREY, markersize=3.5, markerfacecolor="white")
        axes.plot(x, predicted, "x", color=WRONG, markersize=3.5)
        if len(task.names):
            axes.set_xlabel(task.names[0], size=SMALL)
            axes.set_title(task.names[1], size=SMALL, loc="left")
        axes.plot(task.support_x[:, 0], task.support_y[:, 0], "o", color="black", markersize=3.5)
    return figure
