"""Parkinsons telemonitoring: two scores of the disease, from recordings of patients' voices over half a year."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from metarun.data.class_splits import choose_splits
from metarun.data.examples import ClassDataset
from metarun.data.files.cache import Original, Storage
from metarun.data.files.dataset_cache import DatasetCache
from metarun.data.files.file_source import EntityFiles
from metarun.errors import UserError
from metarun.system.paths import PathText

VERSION = 1  # raise it with every change that can change a row or a patient
TARGETS = ("motor_UPDRS", "total_UPDRS")
_PATIENT, _PATIENTS, _ROWS = "subject#", 42, 5_875
_ORIGINAL = Original(
    name="parkinsons",
    files=("parkinsons_updrs.data", "parkinsons_telemonitoring.csv.gz", "tabular/parkinsons_telemonitoring.csv.gz"),
    advice="parkinsons_updrs.data of UCI's data set 189",
)


class Parkinsons(EntityFiles):
    """A task is one of 42 patients: `motor_UPDRS` and `total_UPDRS` of a recording, from a few recordings with scores.

    Tsanas, Little, McSharry, Ramig, "Accurate telemonitoring of Parkinson's disease progression by noninvasive speech
    tests", 2009; UCI data set 189. There are 101 to 168 recordings a patient, with a time in days, age, sex and 16
    measures of the voice. The scores between visits to the clinic are interpolated, linearly in time, by the authors.
    Inputs and scores are standardised by meta-train.

    Args:
        columns: the inputs; None: all of them.
        order: "test_time": support sets are a patient's first recordings; None: they are drawn.
        split: a file of patients (see `metarun.data.splits`); None: by `split_seed`.
        split_seed: 27 patients meta-train, 7 meta-val, 8 meta-test.
        storage: "memory", or "disk": the rows stay in the cache.
    """

    name = "parkinsons"
    summary = "42 patients with Parkinson's disease, 101 to 168 voice recordings each: regression of two scores"
    licence = "CC BY 4.0; cite Tsanas, Little, McSharry, Ramig 2009 (UCI 189)"
    original = _ORIGINAL

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        order: Literal["test_time"] | None = None,
        split: PathText | None = None,
        split_seed: int = 0,
        storage: Storage = "memory",
    ) -> None:
        self.columns, self.order = columns, order
        self.split, self.split_seed, self.storage = split, split_seed, storage

    def _cache(self, _: Path) -> DatasetCache:
        settings = f"{VERSION}|{self.columns}|{self.order}|{self.split}|{self.split_seed}"
        return DatasetCache("tables", self.name, settings, self.storage)

    def _make(self, place: Path) -> ClassDataset:
        import pandas as pd

        from metarun.data.tables.entity_rows import Columns, entity_dataset, entity_rows

        try:
            table = pd.read_csv(place)
        except Exception as error:  # pandas raises a dozen kinds on foreign bytes
            raise UserError(f"{place} cannot be read as a table ({' '.join(str(error).split())}).") from error
        columns = Columns(_PATIENT, TARGETS, self.columns, (), self.order, None)
        found = entity_rows(table, place, columns, "error", True, None)
        rows = sum(map(len, found.rows.values()))
        if (len(found.rows), rows) != (_PATIENTS, _ROWS):
            raise UserError(
                f"{place} has {rows:,} recordings of {len(found.rows)} patients but {_ROWS:,} of {_PATIENTS} are "
                "expected",
                "complete your copy.",
            )
        lists, skipped = choose_splits(self.name, list(found.rows), self.split, self.split_seed, noun="patient")
        return entity_dataset(self.name, found, lists, skipped, standardise=True, standardise_targets=True)
