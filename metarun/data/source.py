"""What every data set that metarun can find, build or draw looks like from outside."""

from typing import Protocol

from metarun.data.examples import ClassDataset
from metarun.data.sinusoid import Sinusoid


class DataSource(Protocol):
    """A data set before it is loaded; `_target_` of a file in conf/data/ names one, its keys are constructor arguments.

    A source with a cache may have one method more, `cache_files() -> list[Path]`: the files that `load` reads when they
    are there. So a change of them is noticed without loading them.

    Attributes:
        name: what messages, tables and `data=<name>` call it.
        summary: what it holds, one line.
        licence: under which terms, one line.
    """

    name: str
    summary: str
    licence: str

    def load(self) -> ClassDataset | Sinusoid:
        """Find the data, build and cache them where needed, verify them, split them.

        Raises:
            UserError: they cannot be had, or the wished split cannot be made of them.
        """

    def where(self) -> str | None:
        """Return where the data would come from now, without network and without building; None: from a download."""

    def check(self) -> str:
        """Verify all content from its source and return what was found, one line.

        Raises:
            UserError: something is missing, damaged, or not what the cache holds.
        """
