"""Figures by way and shot: a panel for each method and whatever else runs differ in but their seed."""

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
        runs: that differ in their seed alone.
        figure: what they were judged by.
        signs: that say with what it must not be compared.
    """

    runs: list[Record]
    figure: CellFigure
    signs: str

    def lines(self, digits: int) -> list[str]:
        """Write the mean with the signs, then the interval over tasks and the deviation over seeds, where known."""
        figure, metric = self.figure, metric_of(self.runs[0])
        spread = (("±", figure.ci95), ("sd", figure.deviation))
        told = [f"{sign} {metric.fixed(half, digits)}" for sign, half in spread if half is not None]
        return [metric.fixed(figure.mean, digits) + self.signs, *told]


@dataclass(frozen=True)
class SizePanel:
    """One method.

    Args:
        title: what tells it from the others.
        cells: by way and shot.
    """

    title: str
    cells: dict[tuple[int, int], SizeCell]


def size_panels(records: Sequence[Record]) -> tuple[list[SizePanel], list[str]]:
    """Return the panels of finished runs, and what the signs in their cells mean."""
    told, keys = with_panels(records)
    by_panel = pivot(told, keys, SIZES)
    places = [(values, size) for values in in_order(by_panel) for size in by_panel[values]]
    sharing = [by_panel[values][size] for values, size in places]
    signs, meanings = marks_of_cells(sharing)
    cells = dict(zip(places, map(SizeCell, sharing, map(cell_figure, sharing), signs), strict=True))
    panels = [
        SizePanel(
            label(dict(zip(keys, values, strict=True)), keys),
            {(way, shot): cells[values, (way, shot)] for way, shot in by_panel[values]},
        )
        for values in in_order(by_panel)
    ]
    return panels, meanings
