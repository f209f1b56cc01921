"""A chart of the report with its title and caption."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Chart:
    """A drawing, or a small table, with its title and caption."""

    title: str
    drawing: Markup
    note: str
