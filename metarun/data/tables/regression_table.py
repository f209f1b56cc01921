"""A table as regression tasks: the rows of each patient, user or machine are one task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from metarun.data.class_splits import choose_splits
from metarun.data.examples import ClassDataset
from metarun.data.files.cache import Storage
from metarun.data.files.dataset_cache import DatasetCache
from metarun.data.files.file_source import EntityFiles
from metarun.errors import UserError
from metarun.system.paths import PathText, resolve_path

VERSION = 2  # raise it with every change that can change a row or an entity


class RegressionTable(EntityFiles):
    """A table whose rows belong to entities: a task is to predict an entity's targets from a few rows of its own.

    Entities of meta-val and meta-test are never seen in training. Inputs are columns of numbers, standardised, and of
    categories, one-hot; targets are columns of numbers, standardised: a squared error of 1 is the variance of all
    meta-train rows. Means, deviations and categories are those of the meta-train rows. The rows are cached; a table
    that changes is read again.

    Args:
        root: the table, see `metarun.data.Table`.
        entity: the column that names the entity of a row.
        targets: the columns to predict.
        columns: the columns to predict from; None: all others.
        drop: columns to ignore.
        order: a column of times (numbers, or dates such as 2024-01-31): the support set of a task is an entity's first
            rows, and queries are drawn from the later ones; None: both are drawn.
        header: whether a CSV's first line names the columns; false: they are called "0", "1", …
        standardise: subtract the mean of inputs and divide by the standard deviation.
        standardise_targets: the same with targets; false: errors are in their own units.
        missing: what becomes of a missing input: "mean", or "error". Rows without a target are skipped.
        min_rows: skip entities with fewer rows; None: skip none.
        split: a file of entities (see `metarun.data.splits`); None: by `split_column`, or by `split_seed`.
        split_column: the column that says train, val or test, the same for all rows of an entity.
        split_seed: of a split by chance: 64 % of the entities meta-train, 16 % meta-val, 20 % meta-test.
        storage: "memory", or "disk": the rows stay in the cache, for tables larger than memory.
    """

    name = "regression_table"
    summary = "a table of your own, a task per patient, user or machine: data.root=FILE data.entity=… data.targets=[…]"
    licence = "yours"

    def __init__(
        self,
        root: PathText | None = None,
        entity: str | None = None,
        targets: Sequence[str] = (),
        columns: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        order: str | None = None,
        header: bool = True,
        standardise: bool = True,
        standardise_targets: bool = True,
        missing: Literal["mean", "error"] = "mean",
        min_rows: int | None = None,
        split: PathText | None = None,
        split_column: str | None = None,
        split_seed: int = 0,
        storage: Storage = "memory",
    ) -> None:
        self._written = root
        self.root = None if root is None else resolve_path(root)
        self.entity, self.targets, self.columns, self.drop = entity, tuple(targets), columns, tuple(drop)
        self.order, self.header, self.missing, self.min_rows = order, header, missing, min_rows
        self.standardise, self.standardise_targets = standardise, standardise_targets
        self.split, self.split_column, self.split_seed = split, split_column, split_seed
        self.storage = storage

    def _place(self) -> Path:
        if self.root is None:
            raise UserError(f"data={self.name} needs a table", "set `data.root` to a CSV, Parquet or Excel file.")
        if self.entity is None:
            raise UserError(
                f"data={self.name} needs the column of entities", "set `data.entity` to it, such as patient or user."
            )
        if not self.targets:
            raise UserError(f"data={self.name} needs columns to predict", "set `data.targets` to a list of them.")
        return self.root

    def _cache(self, root: Path) -> DatasetCache:
        which = (self.entity, self.targets, self.columns, self.drop, self.order, self.header)
        how = (self.standardise, self.standardise_targets, self.missing, self.min_rows)
        split = (self.split, self.split_column, self.split_seed)
        return DatasetCache("tables", self.name, f"{VERSION}|{root}|{which}|{how}|{split}", self.storage)

    def _make(self, root: Path) -> ClassDataset:
        # pandas takes half a second to import, which a cached table need not spend.
        from metarun.data.tables.entity_rows import Columns, entity_dataset, entity_rows
        from metarun.data.tables.table_features import words_by_name
        from metarun.data.tables.table_file import read_table

        assert self.entity is not None, "`_place` asks for it"
        columns = Columns(self.entity, self.targets, self.columns, self.drop, self.order, self.split_column)
        split = [] if self.split_column is None else [self.split_column]
        table = read_table(root, str(self._written), self.header, names=[self.entity, *split])
        found = entity_rows(table, root, columns, self.missing, self.header, self.min_rows)
        by_column = None
        if self.split_column is not None:
            by_column = words_by_name(root, found.rows, self.split_column, "entity", self.header)
        lists, skipped = choose_splits(str(root), list(found.rows), self.split, self.split_seed, by_column, "entity")
        return entity_dataset(self.name, found, lists, skipped, self.standardise, self.standardise_targets)
