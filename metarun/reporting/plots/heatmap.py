"""Heatmaps: results by way and shot, one panel per method, with a shared colour scale."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from metarun.errors import UserError
from metarun.reporting.plots.curve import COLOURS
from metarun.reporting.plots.style import COLUMN, LINE, SMALL, note_lines, text_width, wrapped, write_notes
from metarun.reporting.tables.size_panels import SizeCell, SizePanel
from metarun.results.metrics import Metric
from metarun.system.ranges import ends

# Margins and sizes in inches.
LEFT, TOP, BELOW = 0.42, 0.06, 0.36
BAR_AND_NAME = 0.45  # the right margin, without the numbers of the colour bar
GAP = 0.12  # between panels
BAR = 0.09  # the width of the colour bar
SMALLEST = 0.46  # cell width, enough for "± 0.46"
LINE_OF_A_CELL = 0.12
DIGITS = 3  # after the point, at most, of a figure in a cell


def draw_heatmap(panels: Sequence[SizePanel], metric: Metric, notes: Sequence[str], width: float | None) -> Figure:
    """Draw the panels side by side, in as many rows as needed; one row per way, one column per shot.

    Args:
        panels: from left to right.
        metric: of all runs; strong blue is its better end.
        notes: lines at the foot, wrapped if they are too long.
        width: of the figure in inches; None: a paper's column, or wider if a panel needs it.
    """
    ways, shots = (sorted({at[i] for panel in panels for at in panel.cells}, key=ends) for i in (0, 1))
    colours = _colours(panels, metric.higher_is_better)
    right = BAR_AND_NAME + _width_of_numbers(colours)
    width, rows, in_a_row = _grid(len(panels), len(shots), width, LEFT + right)
    panel_width = (width - LEFT - right + GAP) / in_a_row - GAP
    titles = [wrapped(panel.title, panel_width) for panel in panels]
    lines = note_lines(notes, width)
    above = 1.1 * LINE * max(title.count("\n") + 1 for title in titles) + 0.06
    cells_height = len(ways) * LINE_OF_A_CELL * (1 + max(2, *(len(cell.lines(DIGITS)) for cell in _cells(panels))))
    row_height = above + cells_height + GAP
    height = TOP + rows * row_height - GAP + BELOW + LINE * len(lines) + 0.06
    figure = Figure((width, height))
    for i, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, column = divmod(i, in_a_row)
        left = LEFT + column * (panel_width + GAP)
        bottom = height - TOP - (row + 1) * row_height + GAP
        box = (left / width, bottom / height, panel_width / width, cells_height / height)
        axes = figure.add_axes(box)
        _draw_panel(axes, panel, ways, shots, colours, min(metric.digits, DIGITS))
        axes.set_title(title, pad=3, size=SMALL + 0.5)
        _name_axes(axes, ways if column == 0 else [], shots if i + in_a_row >= len(panels) else [])
    top, bottom = height - TOP - above, height - TOP - rows * row_height + GAP
    bar = figure.add_axes(((width - right + GAP) / width, bottom / height, BAR / width, (top - bottom) / height))
    _draw_bar(bar, colours).set_label(metric.title, labelpad=2)
    bar.spines[:].set_visible(False)
    write_notes(figure, lines)
    return figure


def _grid(panels: int, shots: int, width: float | None, margins: float) -> tuple[float, int, int]:
    """Return the width of the figure in inches, its number of rows, and the number of panels per row."""
    needed = margins + SMALLEST * shots
    if width is not None and width < needed:
        enough = math.ceil(10 * needed) / 10
        raise UserError(f"--width {width:g} is too narrow for {shots} shots", f"use at least {enough:g} inches.")
    width = width or max(COLUMN, needed)
    at_most = max(1, int((width - margins + GAP) / (SMALLEST * shots + GAP)))
    rows = math.ceil(panels / at_most)
    return width, rows, math.ceil(panels / rows)


def _cells(panels: Sequence[SizePanel]) -> list[SizeCell]:
    return [cell for panel in panels for cell in panel.cells.values()]


def _colours(panels: Sequence[SizePanel], higher_is_better: bool) -> ScalarMappable:
    """One scale for all cells: the blue of the report, which is colour-blind safe and monotonic in greyscale."""
    values = [cell.value for cell in _cells(panels)]
    palest, strongest = (tuple(1 - share * (1 - part) for part in to_rgb(COLOURS[0])) for share in (0.12, 0.95))
    scale = (palest, strongest) if higher_is_better else (strongest, palest)  # strong is good
    colours = LinearSegmentedColormap.from_list("report", scale)
    return ScalarMappable(Normalize(min(values), max(values)), colours)


def _draw_bar(axes: Axes, colours: ScalarMappable) -> Colorbar:
    return axes.figure.colorbar(colours, cax=axes, ticks=MaxNLocator(6, steps=[1, 2, 5, 10]))


def _width_of_numbers(colours: ScalarMappable) -> float:
    """The width in inches of the numbers next to the colour bar."""
    bar = Figure().add_subplot()
    _draw_bar(bar, colours)
    numbers = zip(bar.get_yticks(), bar.get_yticklabels(), strict=True)
    low, high = bar.get_ylim()
    return max(text_width(label.get_text()) for at, label in numbers if low <= at <= high)


def _draw_panel(
    axes: Axes,
    panel: SizePanel,
    ways: Sequence[int | str],
    shots: Sequence[int | str],
    colours: ScalarMappable,
    digits: int,
) -> None:
    axes.set(xlim=(-0.5, len(shots) - 0.5), ylim=(len(ways) - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for down, way in enumerate(ways):
        for across, shot in enumerate(shots):
            cell = panel.cells.get((way, shot))
            colour = (0.93, 0.93, 0.93, 1.0) if cell is None else colours.to_rgba(np.asarray(cell.value))
            axes.add_patch(Rectangle((across - 0.5, down - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
            luminance = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
            ink = "black" if luminance > 0.45 else "white"
            text = "–" if cell is None else "\n".join(cell.lines(digits))
            axes.text(across, down, text, color=ink, size=SMALL, ha="center", va="center")


def _name_axes(axes: Axes, ways: Sequence[int | str], shots: Sequence[int | str]) -> None:
    """Label the given rows and columns; only the outer panels have labels."""
    axes.set_yticks(range(len(ways)), list(map(str, ways)))
    axes.set_xticks(range(len(shots)), list(map(str, shots)))
    axes.set_ylabel("way" if ways else "", labelpad=2)
    axes.set_xlabel("shot" if shots else "", labelpad=2)
