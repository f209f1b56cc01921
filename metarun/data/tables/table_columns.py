"""The columns of a table as numbers of a vector, and back: numeric ones standardised, categorical ones one-hot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers: z = (x - mean) / deviation; what is missing becomes the mean, 0."""

    name: str
    mean: float
    deviation: float

    @property
    def width(self) -> int:
        """How many numbers of a vector it takes."""
        return 1

    def vectors(self, column: "pd.Series[float]") -> NDArray[np.float32]:
        """Return (rows, 1)."""
        values = (column.to_numpy(np.float64) - self.mean) / self.deviation
        found: NDArray[np.float32] = np.nan_to_num(values, nan=0.0).astype(np.float32)[:, None]
        return found

    def values(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the numbers (rows,) of the table, up to rounding, given (rows, 1)."""
        found: NDArray[np.float64] = vectors[:, 0].astype(np.float64) * self.deviation + self.mean
        return found

    def texts(self, vectors: NDArray[np.floating]) -> list[str]:
        """Return what a row of the table shows, given (rows, 1)."""
        return [f"{value:.5g}" for value in self.values(vectors)]


@dataclass(frozen=True)
class CategoricalColumn:
    """A column of categories, one-hot; a category that meta-train does not have, and a missing one, is all zeros."""

    name: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many numbers of a vector it takes."""
        return len(self.categories)

    def vectors(self, column: "pd.Series[str]") -> NDArray[np.float32]:
        """Return (rows, categories)."""
        import pandas as pd

        codes = pd.Index(list(self.categories), dtype="string").get_indexer(pd.Index(column.astype("string")))
        found = np.zeros((len(column), len(self.categories)), np.float32)
        rows = np.flatnonzero(codes >= 0)
        found[rows, codes[rows]] = 1.0
        return found

    def texts(self, vectors: NDArray[np.floating]) -> list[str]:
        """Return what a row of the table shows, given (rows, categories)."""
        return [self.categories[int(row.argmax())] if row.any() else "–" for row in vectors]


Column = NumericColumn | CategoricalColumn


def as_json(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the columns as values of JSON."""
    return [asdict(column) for column in columns]


def from_json(columns: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return what `as_json` was given.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    return tuple(
        CategoricalColumn(str(column["name"]), tuple(map(str, column["categories"])))
        if "categories" in column
        else NumericColumn(str(column["name"]), float(column["mean"]), float(column["deviation"]))
        for column in columns
    )
