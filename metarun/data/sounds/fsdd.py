"""The Free Spoken Digit Dataset: ten English digits spoken by six people."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Skipped, Split
from metarun.data.files.archive import open_files
from metarun.data.files.cache import Storage, apply_storage, find_original, mirror_urls
from metarun.data.files.dataset_cache import DatasetCache, content_of
from metarun.data.sounds.recordings import LARGEST, VERSION, read_recordings
from metarun.data.sounds.sound_layout import Classes
from metarun.data.sounds.waves import SoundFeatures, sound_features
from metarun.data.splits import split_classes, unlisted
from metarun.errors import UserError
from metarun.system.paths import PathText, data_root

SPEAKERS: dict[Split, tuple[str, ...]] = {
    "train": ("george", "jackson", "lucas"),
    "val": ("nicolas",),
    "test": ("theo", "yweweler"),
}
PAIRS: dict[Split, tuple[str, ...]] = {
    "train": ("george", "jackson"),
    "val": ("lucas", "nicolas"),
    "test": ("theo", "yweweler"),
}
_UNSEEN = "56789"  # of the split by both, whose meta-val speaker says the meta-train digits
DIGITS: dict[Split, str] = {"train": "01234", "val": "56", "test": "789"}
FOUR_VOICES: dict[Split, str] = {"train": "01234", "val": "56", "test": _UNSEEN}
PER_CLASS = 50
ClassesOf = Literal["speaker_digit", "digit"]
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
            a fourth, 5 to 9 of the other two), `four_voices` (digits 0 to 4 of four speakers, 5 and 6 of the same four,
            and the meta-test classes of `both`), `pairs` (two speakers each, all digits), or the path of a file that
            lists classes or speakers (see `metarun.data.splits`).
        classes: `speaker_digit`, or `digit`: a class is a digit by all speakers of a split, and its recordings are
            grouped by `speaker` (`task.across=speaker`). A digit of several splits has its speakers in its name, as in
            "theo+yweweler/7".
        rate: samples per second; the recordings have 8,000.
        seconds: see `Audio`, as are those below.
        mels: bands of frequency.
        fft: samples per frame.
        hop: samples from one frame to the next.
        storage: "memory" or "disk".
        backwards: see `Audio`.
        features: see `Audio`.
    """

    name = "fsdd"
    summary = "spoken digits: 10 digits of 6 speakers, 50 recordings each (Jackson et al. 2018)"
    licence = "CC BY-SA 4.0"

    def __init__(
        self,
        split: Literal["speaker", "digit", "both", "four_voices", "pairs"] | PathText = "speaker",
        classes: ClassesOf = "speaker_digit",
        rate: int = 8_000,
        seconds: float = 0.8,
        mels: int = 32,
        fft: int = 256,
        hop: int = 100,
        storage: Storage = "memory",
        backwards: bool = False,
        features: SoundFeatures = "log_mel",
    ) -> None:
        if classes not in get_args(ClassesOf):
            raise UserError(f"data.classes={classes} is not one of {', '.join(get_args(ClassesOf))}.")
        self.split, self.classes = split, classes
        self.features = sound_features(features, rate, seconds, mels, fft, hop)
        self.storage, self.backwards = storage, backwards

    def load(self) -> ClassDataset:
        """Return the recordings, from the cache or decoded (seconds)."""
        loaded = self._cache().load(self._content(), self._make)
        if self.classes == "digit":
            return apply_storage(_by_digit(loaded), self.storage)
        groupings = {"speaker": _speaker_of, "digit": _digit_of}
        return replace(loaded, groupings=groupings, example_groups={"speaker": _speakers(loaded)})

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
        """Decode all recordings and compare them with the cache."""
        return self._cache().check(self._content(), self._make)

    def _content(self) -> str:
        return content_of(None if self.split in RULES else self.split)

    def _cache(self) -> DatasetCache:
        settings = f"{VERSION}|{self.split}|{self.features}" + "|backwards" * self.backwards
        return DatasetCache("sounds", self.name, settings, self.storage, "over_time")

    def _make(self) -> ClassDataset:
        root = _find() or _download()
        with open_files(root, LARGEST) as (names, _):
            classes = _classes(root, names)
        lists = split_classes(self.name, self.split, list(classes), RULES)
        splits = {which: {c: classes[c] for c in lists[which]} for which in SPLITS}
        skipped = Skipped() if self.split in RULES else unlisted(self.split, lists, list(classes))
        return read_recordings(self.name, root, splits, self.features, skipped, backwards=self.backwards)


def split_by_speaker(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return three speakers, another one, and two more."""
    return {which: [name for name in names if _speaker_of(name) in SPEAKERS[which]] for which in SPLITS}


def split_by_pairs(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return two speakers, two others, and the two of `split_by_speaker`."""
    return {which: [name for name in names if _speaker_of(name) in PAIRS[which]] for which in SPLITS}


def split_by_digit(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the digits 0 to 4, 5 and 6, and 7 to 9 of all speakers."""
    return {which: [name for name in names if name[-1] in DIGITS[which]] for which in SPLITS}


def split_by_both(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return the split by speaker, where meta-test has the digits 5 to 9 and the others the rest."""
    lists = split_by_speaker(names)
    return {which: [name for name in lists[which] if (name[-1] in _UNSEEN) == (which == "test")] for which in SPLITS}


def split_by_four_voices(names: Sequence[str]) -> dict[Split, list[str]]:
    """Return digits 0 to 4 of four speakers, 5 and 6 of the same, and the digits 5 to 9 of the other two."""
    return {
        which: [
            name
            for name in names
            if (_speaker_of(name) in SPEAKERS["test"]) == (which == "test") and name[-1] in FOUR_VOICES[which]
        ]
        for which in SPLITS
    }


RULES = {
    "speaker": split_by_speaker,
    "digit": split_by_digit,
    "both": split_by_both,
    "four_voices": split_by_four_voices,
    "pairs": split_by_pairs,
}


def _find() -> Path | None:
    return find_original("audio", _FILES)


def _download() -> Path:
    from metarun.data.files.download import download_zip

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


def _by_digit(data: ClassDataset) -> ClassDataset:
    """Return a data set of classes "speaker/digit" with the recordings of a digit as one class, grouped by speaker."""
    splits_of = Counter(d for examples in data.splits.values() for d in {*map(_digit_of, examples.class_names)})
    splits: dict[Split, Examples] = {}
    speakers: dict[Split, ExampleGroups] = {}
    for split, examples in data.splits.items():
        parts: dict[str, list[str]] = defaultdict(list)
        for class_name in examples.class_names:
            parts[_digit_of(class_name)].append(class_name)
        named = {_name(digit, of, unique=splits_of[digit] == 1): of for digit, of in sorted(parts.items())}
        values = {name: np.concatenate([*map(examples.of_class, of)]) for name, of in named.items()}
        splits[split] = Examples.from_classes(values)
        order = [part for of in named.values() for part in of]
        speakers[split] = ExampleGroups.of(_speaker_of(part) for part in order for _ in examples.of_class(part))
    return replace(data, splits=splits, example_groups={"speaker": speakers})


def _speakers(data: ClassDataset) -> dict[Split, ExampleGroups]:
    """Return the speaker of each recording in a data set of classes "speaker/digit"."""
    return {
        split: ExampleGroups.of(np.repeat([*map(_speaker_of, of.class_names)], of.sizes))
        for split, of in data.splits.items()
    }


def _name(digit: str, parts: Iterable[str], unique: bool) -> str:
    return digit if unique else f"{'+'.join(map(_speaker_of, parts))}/{digit}"
