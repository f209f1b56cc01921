"""Charts with one row per method: a dot with its intervals, its name on the left and its numbers on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metarun.errors import UserError
from metarun.reporting.interval_rows import Row
from metarun.reporting.plots.curve import COLOURS
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
MARGIN, GAP, BELOW = 0.06, 0.12, 0.38
ROW = 0.07  # of a row, beside its lines of text
NARROWEST = 0.7  # of the axes


@dataclass(frozen=True)
class RowPanel:
    """Rows on one axis, from the top; `title` is above them."""

    title: str
    rows: Sequence[Row]


def draw_rows(panels: Sequence[RowPanel], x_name: str, notes: Sequence[str], width: float | None) -> Figure:
    """Draw panels below each other, each on an axis of its own.

    Args:
        panels: each with at least one row.
        x_name: of the axes.
        notes: lines at the foot, wrapped if they are too long.
        width: of the figure in inches; None: a paper's column.
    """
    width = width or COLUMN
    lines = note_lines(notes, width)
    labels = [[wrapped(row.label, 0.36 * width) for row in panel.rows] for panel in panels]
    left = (
        MARGIN
        + 0.1
        + HINTED * max(text_width(line) for each in labels for label in each for line in label.splitlines())
    )
    right = MARGIN + 0.08 + HINTED * max(text_width(row.text) for panel in panels for row in panel.rows)
    if width - left - right < NARROWEST:
        raise UserError(
            f"--width {width:g} is too narrow for these labels", f"use at least {left + right + NARROWEST + 0.05:.1f}."
        )
    titles = [wrapped(panel.title, width - 0.2) if panel.title else "" for panel in panels]
    above = [MARGIN + (1.1 * LINE * (title.count("\n") + 1) if title else 0) for title in titles]
    heights = [sum(ROW + LINE * (label.count("\n") + 1) for label in each) for each in labels]
    foot = LINE * len(lines) + 0.06
    height = sum(above) + sum(heights) + (BELOW + GAP) * len(panels) - GAP + foot
    figure = Figure((width, height))
    top = height
    for panel, names, title, over, tall in zip(panels, labels, titles, above, heights, strict=True):
        top -= over
        across = (width - left - right) / width
        axes = figure.add_axes((left / width, (top - tall) / height, across, tall / height))
        figure.text(MARGIN / width, (top + 0.04) / height, title, size=SMALL + 0.5, va="bottom")
        _draw_panel(axes, panel, names)
        axes.set_xlabel(x_name, labelpad=2)
        top -= tall + BELOW + GAP
    write_notes(figure, lines)
    return figure


def _draw_panel(axes: Axes, panel: RowPanel, labels: Sequence[str]) -> None:
    at, places = 0.0, []
    for label in labels:
        tall = ROW + LINE * (label.count("\n") + 1)
        places.append(at + tall / 2)
        at += tall
    axes.set_ylim(at, 0)
    for row, place in zip(panel.rows, places, strict=True):
        for span, thickness in ((row.thin, 0.8), (row.thick, 2.4)):
            if span is not None:
                axes.plot(span, (place, place), color=COLOURS[0], linewidth=thickness, solid_capstyle="butt")
        axes.plot([row.value], [place], "o", color="white", markeredgecolor=COLOURS[0], markersize=3.5)
        axes.annotate(
            row.text,
            (1, place),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            size=SMALL,
            va="center",
            color=GREY,
        )
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", linewidth=0.4, alpha=0.4)
    axes.locator_params(axis="x", nbins=4)
    axes.margins(x=0.08)
