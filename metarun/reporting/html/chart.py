"""A chart of the report with its title and caption."""

from dataclasses import dataclass

from markupsafe import Markup


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
