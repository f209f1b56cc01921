"""The Free Spoken Digit Dataset: ten English digits spoken by six people."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from metarun.data.archive import open_files
from metarun.data.cache import Storage, find_original, mirror_urls
from metarun.data.dataset_cache import DatasetCache, content_of
from metarun.data.examples import SPLITS, ClassDataset, Skipped, Split
from metarun.data.log_mel import LogMel
from metarun.data.recordings import LARGEST, VERSION, read_recordings
from metarun.data.sound_layout import Classes
from metarun.data.splits import split_classes, unlisted
from metarun.errors import UserError
from metarun.system.paths import PathText, data_root

SPEAKERS: dict[Split, tuple[str, ...]] = {
    "train": ("george", "jackson", "lucas"),
    "val": ("nicolas",),
    "test": ("theo", "yweweler"),
}
DIGITS: dict[Split, str] = {"train": "01234", "val": "56", "test": "789"}
_UNSEEN = "56789"  # of the split by both, whose meta-val speaker says the meta-train digits
PER_CLASS = 50
_RECORDING = re.compile(r"(?:.*/)?(\d)_([a-z]+)_\d+\.wav")
_ZIP = "fsdd_recordings.zip"
_FILES = (_ZIP, "free-spoken-digit-dataset", "free-spoken-digit-dataset-master.zip", "recordings")
_SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
OFFICIAL = f"{_SOURCE}/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip"


class Fsdd:
    """Spoken digits (Jackson et al., 2018); a class is a digit of a speaker such as "theo/7", of 50 recordings.

    An example is a log-mel spectrogram (1, mels, frames) float32, see `Audio`. The recordings are looked for under the
    data root and the mirror folder, as a zip or a clone of the repository, and then downloaded. Once they are cached,
    nothing else is needed.

    Args:
        split: `speaker` (meta-train on three speakers, meta-val on a fourth, meta-test on the other two, all digits),
            `digit` (digits 0 to 4, 5 and 6, 7 to 9 of all speakers), `both` (digits 0 to 4 of three speakers, 0 to 4 of
            a fourth, 5 to 9 of the other two), or the path of a file that lists classes or speakers (see
            `metarun.data.splits`).
        rate: samples per second; the recordings have 8,000.
        seconds: see `Audio`, as are those below.
        mels: bands of frequency.
        fft: samples per frame.
        hop: samples from one frame to the next.
        storage: "memory" or "disk".

    Raises:
        UserError: an argument is out of range.
    """

    name = "fsdd"
    summary = "spoken digits: 10 digits of 6 speakers, 50 recordings each (Jackson et al. 2018)"
    licence = "CC BY-SA 4.0"

    def __init__(
        self,
        split: Literal["speaker", "digit", "both"] | PathText = "speaker",
        rate: int = 8_000,
        seconds: float = 0.8,
        mels: int = 32,
        fft: int = 256,
        hop: int = 100,
        storage: Storage = "memory",
    ) -> None:
        self.split = split
        self.log_mel = LogMel(rate, seconds, mels, fft, hop)
        self.storage = storage

    def load(self) -> ClassDataset:
        """Return the recordings, from the cache or decoded (seconds).

        Raises:
            UserError: they were not found or are not complete, or there is no such split.
        """
        loaded = self._cache().load(self._content(), self._make)
        return replace(loaded, groupings={"speaker": _speaker_of, "digit": _digit_of})

    def where(self) -> str | None:
        """Return where the recordings would come from now; None: from a download."""
        if all(path.exists() for path in self.cache_files()):
            return f"cache: {self.cache_files()[0].parent}"
        found = _find()
        return str(found) if found else None

    def cache_files(self) -> list[Path]:
        """Return the caches of the splits, see `DataSource`."""
        return self._cache().files()

    def check(self) -> str:
        """Decode all recordings and compare them with the cache.

        Raises:
            UserError: as `load`, or the cache holds something else.
        """
        return self._cache().check(self._content(), self._make)

    def _content(self) -> str:
        return content_of(None if self.split in RULES else self.split)

    def _cache(self) -> DatasetCache:
        return DatasetCache("sounds", self.name, f"{VERSION}|{self.split}|{self.log_mel}", self.storage, "over_time")

    def _make(self) -> ClassDataset:
        root = _find() or _download()
        with open_files(root, LARGEST) as (names, _):
            classes = _classes(root, names)
        lists = split_classes(self.name, self.split, list(classes), RULES)
        splits = {which: {c: classes[c] for c in lists[which]} for which in SPLITS}
        skipped = Skipped() if self.split in RULES else unlisted(self.split, lists, list(classes))
        return read_recordings(self.name, root, splits, self.log_mel, skipped)


def split_by_speaker(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return three speakers, another one, and two more."""
    return {which: [name for name in names if name.partition("/")[0] in SPEAKERS[which]] for which in SPLITS}


def split_by_digit(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the digits 0 to 4, 5 and 6, and 7 to 9 of all speakers."""
    return {which: [name for name in names if name[-1] in DIGITS[which]] for which in SPLITS}


def split_by_both(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the split by speaker, where meta-test has the digits 5 to 9 and the others the rest."""
    lists = split_by_speaker(names)
    return {which: [name for name in lists[which] if (name[-1] in _UNSEEN) == (which == "test")] for which in SPLITS}


RULES = {"speaker": split_by_speaker, "digit": split_by_digit, "both": split_by_both}


def _find() -> Path | None:
    return find_original("audio", _FILES)


def _download() -> Path:
    from metarun.data.download import download_zip

    path = data_root() / "audio" / _ZIP
    remedy = f"put a clone or the zip of {_SOURCE} into {path.parent}, or use data=glyphs, which is built in."
    return download_zip("fsdd", [*mirror_urls("audio", _ZIP), OFFICIAL], path, remedy)


def _classes(root: Path, names: Sequence[str]) -> Classes:
    """Return the recordings of each class, "speaker/digit", all of them."""
    classes: Classes = defaultdict(list)
    for name in sorted(names):
        if found := _RECORDING.fullmatch(name):
            classes[f"{found[2]}/{found[1]}"].append(name)
    expected = {f"{speaker}/{digit}" for of_split in SPEAKERS.values() for speaker in of_split for digit in range(10)}
    sizes = Counter({class_name: len(classes.get(class_name, ())) for class_name in expected | classes.keys()})
    wrong = sorted(c for c, size in sizes.items() if size != (PER_CLASS if c in expected else 0))
    if wrong:
        raise UserError(
            f"{root} has {sizes[wrong[0]]} recordings of {wrong[0]} but fsdd has "
            f"{PER_CLASS if wrong[0] in expected else 0}",
            f"get a complete copy from {_SOURCE}, or use data=audio for recordings of your own.",
        )
    return dict(sorted(classes.items()))


def _speaker_of(class_name: str) -> str:
    return class_name.partition("/")[0]


def _digit_of(class_name: str) -> str:
    return class_name.partition("/")[2]
