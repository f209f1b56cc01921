"""Results by way and shot, one panel per method and settings, averaged over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from metarun.reporting.tables.flags import marks_of_cells
from metarun.reporting.tables.pivot import CellFigure, Values, cell_figure, pivot
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
    cells: dict[Values, SizeCell]


def size_panels(records: Sequence[Record]) -> tuple[list[SizePanel], list[str]]:
    """Return the panels of finished runs, and what the marks in their cells mean."""
    labelled, keys = with_panels(records)
    by_place = pivot(labelled, keys, SIZES)
    marks, meanings = marks_of_cells(list(by_place.values()))
    panels: dict[Values, dict[Values, SizeCell]] = {}
    for ((panel, size), runs), mark in zip(by_place.items(), marks, strict=True):
        panels.setdefault(panel, {})[size] = SizeCell(runs, cell_figure(runs), mark)
    named = [(label(dict(zip(keys, panel, strict=True)), keys), cells) for panel, cells in panels.items()]
    return [SizePanel(title, cells) for title, cells in named], meanings
