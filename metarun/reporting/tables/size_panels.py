"""Results by way and shot, one panel per method and settings, averaged over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from metarun.reporting.tables.flags import marks_of_cells
from metarun.reporting.tables.pivot import CellFigure, cell_figure, in_order, pivot
from metarun.reporting.tables.run_labels import SIZES, label, with_panels
from metarun.results.metrics import metric_of
from metarun.results.records import Record


@dataclass(frozen=True)
class SizeCell:
    """One way and shot of a panel.

    Args:
        runs: that differ only in their seed.
        figure: their result.
        marks: of flags on how it must not be compared.
    """

    runs: list[Record]
    figure: CellFigure
    marks: str

    @property
    def value(self) -> float:
        """The mean as it is displayed, which determines the colour."""
        return metric_of(self.runs[0]).scale * self.figure.mean

    def lines(self, digits: int) -> list[str]:
        """Write the mean with its marks, then the interval over tasks and the deviation over seeds, if known."""
        figure, metric = self.figure, metric_of(self.runs[0])
        spread = (("±", figure.ci95), ("sd", figure.deviation))
        lines = [f"{sign} {metric.fixed(half, digits)}" for sign, half in spread if half is not None]
        return [metric.fixed(figure.mean, digits) + self.marks, *lines]


@dataclass(frozen=True)
class SizePanel:
    """One method.

    Args:
        title: its name, with the settings that distinguish it.
        cells: by way and shot.
    """

    title: str
    cells: dict[tuple[int | str, int | str], SizeCell]


def size_panels(records: Sequence[Record]) -> tuple[list[SizePanel], list[str]]:
    """Return the panels of finished runs, and what the marks in their cells mean."""
    labelled, keys = with_panels(records)
    by_panel = pivot(labelled, keys, SIZES)
    places = [(values, size) for values in in_order(by_panel) for size in by_panel[values]]
    runs_of_cells = [by_panel[values][size] for values, size in places]
    marks, meanings = marks_of_cells(runs_of_cells)
    cells = dict(zip(places, map(SizeCell, runs_of_cells, map(cell_figure, runs_of_cells), marks), strict=True))
    panels = [
        SizePanel(
            label(dict(zip(keys, values, strict=True)), keys),
            {(way, shot): cells[values, (way, shot)] for way, shot in by_panel[values]},
        )
        for values in in_order(by_panel)
    ]
    return panels, meanings
