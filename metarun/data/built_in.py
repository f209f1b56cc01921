"""What built-in families of functions and environments share as data sources."""

from typing import Self


class BuiltIn:
    """A data source that is a formula: there is nothing to find or build."""

    licence = "none needed: a formula"

    def load(self) -> Self:
        """Return itself."""
        return self

    def where(self) -> str:
        """Say where it would come from: nowhere."""
        return "built in (a formula)"
