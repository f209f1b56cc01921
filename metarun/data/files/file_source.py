"""What data sets made of files share: the files are found, read once, cached, and read again if they change."""

from abc import ABC, abstractmethod
from pathlib import Path

from metarun.data.contents import describe
from metarun.data.examples import ClassDataset
from metarun.data.files.cache import Original
from metarun.data.files.dataset_cache import DatasetCache, content_of
from metarun.data.tables.entities import EntityDataset
from metarun.system.paths import PathText


class FileSource(ABC):
    """A `DataSource` of files; a subclass says which these are, how they are read and what its cache depends on.

    Its constructor raises a UserError, with the config key, for an argument that is out of range.

    Attributes:
        original: the published set that the files are; None: they are the user's own.
        root: the user's own files, as an absolute path; None: the user named none.
        split: a file of classes, which are read with the examples, or a rule.
    """

    original: Original | None = None
    root: Path | None = None
    split: PathText | None

    def load(self) -> ClassDataset | EntityDataset:
        """Return the data, from the cache or read.

        Raises:
            UserError: the files are missing, damaged or incomplete, or a setting does not fit them.
        """
        return self._examples()

    def where(self) -> str | None:
        """Return where the files are; None: they are not here."""
        if (place := self._find()) is not None:
            return str(place)
        return None if self.original else "where data.root says"

    def cache_files(self) -> list[Path]:
        """Return the caches of the splits, see `DataSource`."""
        place = self._find()
        return [] if place is None else self._cache(place).files()

    def check(self) -> str:
        """Read all files and compare them with the cache.

        Raises:
            UserError: as `load`, or the cache holds something else.
        """
        place = self._place()
        return self._cache(place).check(self._content(place), lambda: self._make(place), self._describe)

    def _examples(self) -> ClassDataset:
        place = self._place()
        return self._cache(place).load(self._content(place), lambda: self._make(place))

    def _find(self) -> Path | None:
        """Return where the files are; None: they are not here, or the user named none."""
        return self.original.find() if self.root is None and self.original else self.root

    def _place(self) -> Path:
        """Return where the files are.

        Raises:
            UserError: they are not here, or another setting is missing that they cannot be read without.
        """
        if self.root is not None:
            return self.root
        assert self.original is not None, "a source of the user's own files says what is missing"
        return self.original.place()

    def _content(self, place: Path, /) -> str:
        """Return a hash of the files."""
        return content_of(place, self.split)

    def _describe(self, made: ClassDataset) -> str:
        """Say what the data hold."""
        return describe(made)

    @abstractmethod
    def _cache(self, place: Path, /) -> DatasetCache:
        """Return the cache of the files."""

    @abstractmethod
    def _make(self, place: Path, /) -> ClassDataset:
        """Read the files."""


class EntityFiles(FileSource):
    """Files whose rows belong to entities, each of which is a regression task.

    Attributes:
        order: the column of times that rows are in the order of; None: they are in none.
    """

    order: str | None

    def load(self) -> EntityDataset:
        """See `FileSource`."""
        return EntityDataset(self._examples(), in_order=self.order is not None)

    def _describe(self, made: ClassDataset) -> str:
        return describe(EntityDataset(made))
