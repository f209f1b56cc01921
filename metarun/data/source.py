"""The interface of a data source."""

from typing import TYPE_CHECKING, Protocol

from metarun.data.environments.family import EnvironmentFamily
from metarun.data.examples import ClassDataset
from metarun.data.functions.family import FunctionFamily
from metarun.data.tables.entities import EntityDataset

if TYPE_CHECKING:
    from metarun.data.mixed_datasets import MixedDatasets


class DataSource(Protocol):
    """A data set before it is loaded: the `_target_` of a file in conf/data/, whose other keys are its arguments.

    A source with a cache may also have `cache_files() -> list[Path]`: the files that `load` reads if they exist, so
    that a change is noticed without loading them.

    Attributes:
        name: in messages, tables and `data=<name>`.
        summary: of its content, one line.
        licence: one line.
    """

    name: str
    summary: str
    licence: str

    def load(self) -> "ClassDataset | EntityDataset | MixedDatasets | FunctionFamily | EnvironmentFamily":
        """Find the data, build and cache them if needed, verify them and split them.

        Raises:
            UserError: they are not available, or cannot be split as requested.
        """

    def where(self) -> str | None:
        """Return where `load` would get the data now, without network or building; None: from a download."""

    def check(self) -> str:
        """Verify all content from its source and return a report of one line.

        Raises:
            UserError: something is missing, damaged, or differs from the cache.
        """
