"""Charts, and their parts for rows of the table: the page's script shows, hides and colours them with the rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

DRAWN = 8  # configurations at a time, one per colour
KEPT = 24  # configurations of a setting in the page; a filter brings those beyond the first 8 into the charts

Rows = Sequence[int]  # of the table, counted from 0


@dataclass(frozen=True)
class Chart:
    """A drawing, or a small table, with its title and caption.

    Args:
        title: what is drawn.
        drawing: SVG or a table.
        note: the caption.
        column: of the table whose figures it draws; the chart is hidden with it.
        curve: whether it is drawn for a pinned run.
    """

    title: str
    drawing: Markup
    note: str
    column: str | None = None
    curve: bool = False


def of_rows(rows: Iterable[int], place: int = 0) -> Markup:
    """Return the attributes of an element that is shown while one of the rows is.

    Args:
        rows: of the table.
        place: among the configurations of the setting, of which the first 8 are shown before anything is filtered.
    """
    hidden = Markup(" hidden") if place >= DRAWN else Markup("")
    return Markup('data-row="{}"{}').format(" ".join(map(str, rows)), hidden)


def entry(rows: Iterable[int], place: int, parts: Iterable[Markup], down: float | None = None) -> Markup:
    """Group the parts of a chart that stand for rows of the table.

    Args:
        rows: like the next, see `of_rows`; the place is the colour.
        place: among the configurations.
        parts: drawn in this order.
        down: how far they are moved down in a chart with a line for each configuration.
    """
    moved = Markup("") if down is None else Markup(' transform="translate(0 {:g})"').format(down)
    kind = Markup("entry c{}{}").format(place % DRAWN, "" if down is None else " stacked")
    return Markup('<g class="{}" {}{}>{}</g>').format(kind, of_rows(rows, place), moved, Markup("").join(parts))
