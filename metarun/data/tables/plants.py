"""One-hundred plant species leaves: three views of a leaf, each of 64 numbers."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import pandas as pd

from metarun.data.class_splits import choose_splits
from metarun.data.examples import ClassDataset, Skipped, Split
from metarun.data.files.archive import open_files
from metarun.data.files.cache import Original, Storage
from metarun.data.files.dataset_cache import DatasetCache, content_of
from metarun.data.files.file_source import FileSource
from metarun.data.splits import split_by_file, split_classes, unlisted
from metarun.errors import UserError
from metarun.system.paths import PathText

View = Literal["shape", "margin", "texture"]
VERSION = 1  # raise it with every change that can change an example or a class
_FILES: dict[View, str] = {"shape": "data_Sha_64.txt", "margin": "data_Mar_64.txt", "texture": "data_Tex_64.txt"}
_ARCHIVES = ("one_hundred_plants.zip", "100 leaves plant species.zip", "one_hundred_plants", "100 leaves plant species")
_ORIGINAL = Original(
    name="plants",
    files=(*_ARCHIVES, *(f"tabular/{name}" for name in _ARCHIVES)),
    advice="one_hundred_plants.zip or 100 leaves plant species.zip of UCI's set 241",
)
_TORCHMETA = Path(__file__).with_name("plants_split.json")
_CLASSES, _NUMBERS, _LARGEST = 100, 64, 1 << 24


class Plants(FileSource):
    """Leaves of 100 plant species, 16 each (of one species 15 in `texture`), described by 64 numbers a view.

    Mallah, Cope, Orwell, "Plant leaf classification using probabilistic integration of shape, texture and margin
    features", 2013; UCI data set 241. The numbers are standardised by meta-train.

    Args:
        view: "shape", "margin" or "texture": histograms of the leaf's outline, of its margin or of its surface.
        split: "torchmeta" (70 / 15 / 15 species, the list of Torchmeta), "seed" (by `split_seed`), or a file of species
            (see `metarun.data.splits`).
        split_seed: of split=seed: 64 species meta-train, 16 meta-val, 20 meta-test.
        storage: "memory", or "disk": the numbers stay in the cache.
    """

    name = "plants"
    summary = "leaves of 100 plant species, 16 each: 64 numbers of their shape, margin or texture"
    licence = "CC BY 4.0; cite Mallah, Cope, Orwell 2013 (UCI 241)"
    original = _ORIGINAL
    split: PathText

    def __init__(
        self,
        view: View = "shape",
        split: Literal["torchmeta", "seed"] | PathText = "torchmeta",
        split_seed: int = 0,
        storage: Storage = "memory",
    ) -> None:
        self.view, self.split, self.split_seed, self.storage = view, split, split_seed, storage

    def _content(self, place: Path) -> str:
        return content_of(place, None if self.split in ("torchmeta", "seed") else self.split)

    def _cache(self, _: Path) -> DatasetCache:
        settings = f"{VERSION}|{self.view}|{self.split}|{self.split_seed}"
        return DatasetCache("tables", self.name, settings, self.storage)

    def _make(self, place: Path) -> ClassDataset:
        from metarun.data.tables.table_features import class_dataset, rows_by_name

        table = self._read(place)
        rows = rows_by_name(table, "species")
        if len(rows) != _CLASSES:
            raise UserError(f"{place} has {len(rows)} species but {_CLASSES} are expected", "complete your copy.")
        lists, skipped = self._lists(list(rows))
        columns = [column for column in table.columns if column != "species"]
        read = {"label": "species", "header": True, "missing": False}
        return class_dataset(self.name, rows, lists, columns, True, skipped, read)

    def _read(self, place: Path) -> "pd.DataFrame":
        import pandas as pd

        wanted = _FILES[self.view]
        with open_files(place, _LARGEST) as (names, read):
            found = [name for name in names if Path(name).name == wanted]
            if not found:
                raise UserError(f"{place} has no file {wanted}", "complete your copy.")
            content = read(found[0])
        columns = ["species", *map(str, range(_NUMBERS))]
        try:
            table = pd.read_csv(io.BytesIO(content), names=columns, dtype=dict.fromkeys(columns[1:], float))
        except ValueError as error:  # pandas' own errors are such
            raise UserError(f"{wanted} of {place} cannot be read ({error}).") from error
        if table.isna().any(axis=None):
            line = int(table.isna().any(axis=1).to_numpy().argmax()) + 1
            raise UserError(f"line {line} of {wanted} of {place} has no {_NUMBERS} numbers", "complete your copy.")
        return table

    def _lists(self, classes: Sequence[str]) -> tuple[dict[Split, list[str]], Skipped]:
        if self.split == "seed":
            return choose_splits(self.name, classes, None, self.split_seed)
        if self.split == "torchmeta":
            return split_by_file(self.name, _TORCHMETA.name, _TORCHMETA.read_bytes(), classes), Skipped()
        lists = split_classes(self.name, self.split, classes, {})
        return lists, unlisted(self.split, lists, classes)


assert set(_FILES) == set(get_args(View))
