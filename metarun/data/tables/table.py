"""Rows of a table as examples: CSV, Parquet or Excel, with a column of classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from metarun.data.class_splits import choose_splits
from metarun.data.examples import ClassDataset, Skipped
from metarun.data.files.cache import Storage
from metarun.data.files.dataset_cache import DatasetCache
from metarun.data.files.file_source import FileSource
from metarun.errors import UserError
from metarun.system.paths import PathText, resolve_path

VERSION = 2  # raise it with every change that can change an example or a class


class Table(FileSource):
    """A table whose rows are examples: numeric columns standardised, categorical ones one-hot, as one float vector.

    Means, deviations and categories are those of the meta-train rows. Rows of one class are examples in the order of
    the table. The vectors are cached; a table that changes is read anew.

    Args:
        root: the table: .csv, .tsv, .txt (commas), .parquet or .xlsx; CSV may be packed, as .csv.gz.
        label: the column that names the class of a row.
        columns: the columns that describe a row; None: all others.
        drop: columns to ignore.
        header: whether a CSV's first line names the columns; false: they are called "0", "1", …
        standardise: subtract the mean and divide by the standard deviation.
        groups: columns that group the rows, such as who measured, for `task.across=COLUMN`; they describe no row.
        missing: what becomes of a missing value: "mean", or "error".
        split: a file of classes (see `metarun.data.splits`); None: by `split_column`, or by `split_seed`.
        split_column: the column that says train, val or test, the same for all rows of a class.
        split_seed: of a split by chance: 64 % of the classes meta-train, 16 % meta-val, 20 % meta-test.
        storage: "memory", or "disk": the vectors stay in the cache, for sets larger than memory.
    """

    name = "table"
    summary = "rows of a table of your own: data.root=FILE data.label=COLUMN, a CSV, Parquet or Excel file"
    licence = "yours"

    def __init__(
        self,
        root: PathText | None = None,
        label: str | None = None,
        columns: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        header: bool = True,
        standardise: bool = True,
        missing: Literal["mean", "error"] = "mean",
        groups: Sequence[str] | None = None,
        split: PathText | None = None,
        split_column: str | None = None,
        split_seed: int = 0,
        storage: Storage = "memory",
    ) -> None:
        self._written = root
        self.root = None if root is None else resolve_path(root)
        self.label, self.columns, self.drop, self.header = label, columns, tuple(drop), header
        self.standardise, self.missing = standardise, missing
        self.split, self.split_column, self.split_seed = split, split_column, split_seed
        self.groups = tuple(groups or ())
        self.storage = storage

    def _place(self) -> Path:
        if self.root is None:
            raise UserError("data=table needs a table", "set `data.root` to a CSV, Parquet or Excel file.")
        if self.label is None:
            raise UserError("data=table needs the column of classes", "set `data.label` to its name.")
        return self.root

    def _cache(self, root: Path) -> DatasetCache:
        how = (self.label, self.columns, self.drop, self.header, self.standardise, self.missing)
        split = (self.split, self.split_column, self.split_seed)
        return DatasetCache("tables", self.name, f"{VERSION}|{root}|{how}|{split}", self.storage, groups=self.groups)

    def _make(self, root: Path) -> ClassDataset:
        # pandas takes half a second to import, which a cached table need not spend.
        from metarun.data.tables.table_features import (
            check_values,
            class_dataset,
            rows_by_name,
            without_gaps,
            words_by_name,
        )
        from metarun.data.tables.table_file import check_columns, check_filled, read_table

        label = self.label
        assert label is not None, "`_place` asks for it"
        split = [] if self.split_column is None else [self.split_column]
        table = read_table(root, str(self._written), self.header, names=[label, *split, *self.groups])
        named = {"label": [label], "split_column": split, "columns": self.columns or (), "drop": self.drop}
        for key, wanted in {**named, "groups": self.groups}.items():
            check_columns(table, root, key, wanted)
        others = {label, self.split_column, *self.drop, *self.groups}
        columns = [column for column in self.columns or table.columns if column not in others]
        if not columns:
            raise UserError(f"{root} has no column besides '{label}' to describe a row", "name some by `data.columns`.")
        notes = check_values(table, root, columns, self.missing, self.header)
        table, unlabelled = without_gaps(table, label, "a class", self.header)
        check_filled(table, root, self.groups, self.header)
        rows = rows_by_name(table, label)
        by_column = (
            None if self.split_column is None else words_by_name(root, rows, self.split_column, "class", self.header)
        )
        lists, skipped = choose_splits(str(root), list(rows), self.split, self.split_seed, by_column)
        skipped = Skipped(skipped.unlisted, (*skipped.warnings, *notes, *unlabelled))
        read = {"label": label, "header": self.header, "missing": self.missing == "mean"}
        return class_dataset(self.name, rows, lists, columns, self.standardise, skipped, read, self.groups)
