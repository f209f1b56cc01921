"""Recordings of the user's own as examples: folders per class, or a table of files and labels."""

from collections.abc import Sequence
from pathlib import Path

from metarun.data.examples import ClassDataset, Skipped, Split
from metarun.data.files.archive import open_files
from metarun.data.files.cache import Storage
from metarun.data.files.dataset_cache import DatasetCache, content_of
from metarun.data.files.file_source import FileSource
from metarun.data.sounds.recordings import LARGEST, VERSION, read_recordings
from metarun.data.sounds.sound_layout import TABLE_VERSION, Classes, SoundTable, by_folders, by_table, groups_by_file
from metarun.data.sounds.waves import SoundFeatures, sound_features
from metarun.errors import UserError
from metarun.system.paths import PathText, is_file, is_folder, resolve_path


class Audio(FileSource):
    """Recordings as log-mel spectrograms (1, mels, frames) float32, standardised by meta-train's mean and deviation.

    Recordings are decoded once and cached; a folder or table that changes is read again. In `metarun.data.sounds`,
    `sound_layout` describes the layouts, `log_mel` the spectrograms, `recordings` what is skipped.

    Args:
        root: a folder or zip of WAV, FLAC, OGG, Opus, MP3, AIFF or AU files.
        table: a table that gives each file its class; None: the folder of a file is its class.
        filename: the table's column of paths, from `root`.
        label: the table's column of classes.
        split: a file of classes (see `metarun.data.splits`); None: by `split_column`, by the folders train, val and
            test, or by `split_seed`.
        split_column: the table's column that says train, val or test, the same for all rows of a class.
        split_seed: of a split by chance: 64 % of the classes meta-train, 16 % meta-val, 20 % meta-test.
        groups: the table's columns that group recordings, such as who speaks, for `task.across=COLUMN`.
        rate: samples per second; recordings of another rate are resampled.
        seconds: length of an example: the middle of a longer recording, or a shorter one between silence.
        mels: bands of frequency.
        fft: samples per frame.
        hop: samples from one frame to the next.
        storage: "memory", or "disk": the examples stay in the cache, for sets larger than memory.
        backwards: add a class for each meta-train class, with its recordings played backwards, like the rotated
            characters of Omniglot: more classes to learn from.
        features: "log_mel", or "waves": an example is (samples,) float32 with a peak of 1, for encoders of sounds.
    """

    name = "audio"
    summary = "recordings of your own: data.root=PATH, a folder or zip with one folder per class"
    licence = "yours"

    def __init__(
        self,
        root: PathText | None = None,
        table: PathText | None = None,
        filename: str = "filename",
        label: str = "label",
        split: PathText | None = None,
        split_column: str | None = None,
        split_seed: int = 0,
        groups: Sequence[str] | None = None,
        rate: int = 16_000,
        seconds: float = 1.0,
        mels: int = 40,
        fft: int = 512,
        hop: int = 250,
        storage: Storage = "memory",
        backwards: bool = False,
        features: SoundFeatures = "log_mel",
    ) -> None:
        self._written = root
        self.root = None if root is None else resolve_path(root)
        if table is None and split_column is not None:
            raise UserError(f"data.split_column={split_column} but there is no table", "set `data.table`.")
        if table is None and groups:
            raise UserError(f"data.groups=[{', '.join(groups)}] but there is no table", "set `data.table`.")
        self.groups = tuple(groups or ())
        columns = filename, label, split_column, self.groups
        self.table = None if table is None else SoundTable(resolve_path(table), table, *columns)
        self.split, self.split_seed = split, split_seed
        self.features = sound_features(features, rate, seconds, mels, fft, hop)
        self.storage, self.backwards = storage, backwards

    def _place(self) -> Path:
        if self.root is None:
            raise UserError("data=audio needs recordings", "set `data.root` to a folder or a zip.")
        if not (is_file(self.root) or is_folder(self.root)):
            raise UserError(
                f"data.root={self._written} does not exist", "set `data.root` to a folder or a zip of recordings."
            )
        return self.root

    def _content(self, root: Path) -> str:
        return content_of(root, None if self.table is None else self.table.path, self.split)

    def _cache(self, root: Path) -> DatasetCache:
        table = None if self.table is None else f"{TABLE_VERSION}|{self.table}"
        settings = f"{VERSION}|{root}|{table}|{self.split}|{self.split_seed}|{self.features}"
        settings += "|backwards" * self.backwards
        return DatasetCache("sounds", self.name, settings, self.storage, "over_time", self.groups)

    def _make(self, root: Path) -> ClassDataset:
        splits, skipped = self._arrange(root)
        groups = None if self.table is None else groups_by_file(self.table)
        return read_recordings(self.name, root, splits, self.features, skipped, groups, self.backwards)

    def _arrange(self, root: Path) -> tuple[dict[Split, Classes], Skipped]:
        with open_files(root, LARGEST) as (names, _):
            if self.table is not None:
                return by_table(root, names, self.table, self.split, self.split_seed)
            return by_folders(self.name, root, names, self.split, self.split_seed)
