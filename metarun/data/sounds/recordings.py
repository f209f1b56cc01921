"""Recordings as examples: each file is decoded once and becomes a log-mel spectrogram."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarun.data.display import Display
from metarun.data.encoding import Encoding
from metarun.data.example_groups import ExampleGroups
from metarun.data.examples import SPLITS, ClassDataset, Examples, Skipped, Split
from metarun.data.files.archive import ReadFile, open_files
from metarun.data.sounds.log_mel import LogMel
from metarun.data.sounds.sound_decoding import decode
from metarun.data.sounds.waves import Waves
from metarun.errors import UserError, counted

log = logging.getLogger(__name__)

VERSION = 1  # raise it with every change that can change a number of a spectrogram
_VECTORS = "the mean and deviation of log-mel over time"  # by which the floor compares sounds
LARGEST = 1 << 30  # bytes of one recording
_DIGITS = 6  # of mean and deviation, so that the order of summation changes nothing

Classes = Mapping[str, Sequence[str]]  # the class's name -> names of its files
Groups = Mapping[str, Mapping[str, str]]  # by the name of a grouping: a file's name -> its group
Maps = NDArray[np.float32]  # (recordings, 1, mels, frames)


def read_recordings(
    name: str,
    root: Path,
    splits: Mapping[Split, Classes],
    features: LogMel | Waves,
    skipped: Skipped,
    groups: Groups | None = None,
    backwards: bool = False,
) -> ClassDataset:
    """Return recordings as waves, or as log-mel spectrograms standardised by the mean and the deviation of meta-train.

    Recordings that are empty, silent or shorter than a frame are skipped, and so is a class of which fewer than two are
    left; all of it is counted.

    Args:
        name: of the data set.
        root: the folder or zip with the files.
        splits: the files of each class of each split.
        features: makes the examples.
        skipped: what is in no split.
        groups: of the files, by the name of a grouping.
        backwards: each meta-train class is followed by one of its recordings played backwards.

    Raises:
        UserError: a file cannot be read, or no class of a split is left.
    """
    reader = _Reader(root, features)
    with open_files(root, LARGEST) as (_, read):
        found = {split: reader.classes(split, splits[split], read) for split in SPLITS}
    if empty := [split for split in SPLITS if not found[split]]:
        why = "; ".join(reader.notes())
        raise UserError(
            f"no class of split '{empty[0]}' in {root} has two usable recordings ({why})", "add some to each class."
        )
    if backwards:
        reader.add_backwards(found["train"])
    examples = {split: Examples.from_classes(found.pop(split)) for split in SPLITS}  # popped: half the memory
    encoding = _standardise(examples, features)
    told = Skipped((*skipped.unlisted, *reader.cropped()), (*skipped.warnings, *reader.notes()))
    example_groups = {
        grouping: {split: ExampleGroups.of(group_of[file] for file in reader.kept[split]) for split in SPLITS}
        for grouping, group_of in (groups or {}).items()
    }
    display = partial(Display, sound=True, vectors=_VECTORS)
    return ClassDataset(
        name, examples, told, "over_time", example_groups=example_groups, encoding=lambda: encoding, display=display
    )


def _standardise(examples: Mapping[Split, Examples], features: LogMel | Waves) -> Encoding:
    """Standardise spectrograms in place, and return how other recordings become such examples."""
    if isinstance(features, Waves):
        return Encoding("sounds", {"waves": asdict(features)})
    train = examples["train"].values
    mean = round(float(train.mean(dtype=np.float64)), _DIGITS)
    deviation = round(float(train.std(dtype=np.float64)), _DIGITS)
    for of_split in examples.values():
        standardised(of_split.values, mean, deviation)
    return Encoding("sounds", {"log_mel": asdict(features), "mean": mean, "deviation": deviation})


def standardised(maps: Maps, mean: float, deviation: float) -> Maps:
    """Return spectrograms less the mean and divided by the deviation, computed in place."""
    np.subtract(maps, np.float32(mean), out=maps)
    return np.divide(maps, np.float32(deviation), out=maps)


def why_unusable(features: LogMel | Waves, wave: NDArray[np.float32]) -> str | None:
    """Return why a recording cannot be an example, such as "silent"; None: it can."""
    if len(wave) < features.fft:
        return "empty" if len(wave) == 0 else f"shorter than data.fft={features.fft} samples"
    return "silent" if features.is_silent(wave) else None


@dataclass
class _Reader:
    root: Path
    features: LogMel | Waves
    skipped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # why -> files
    small: list[str] = field(default_factory=list)  # classes
    rates: Counter[int] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)  # samples, after resampling
    kept: dict[Split, list[str]] = field(default_factory=lambda: defaultdict(list))  # files, in the order of examples

    def classes(self, split: Split, classes: Classes, read: ReadFile) -> dict[str, Maps]:
        files = sum(map(len, classes.values()))
        log.info("Reading %s of meta-%s from %s; this is done once.", counted(files, "recording"), split, self.root)
        found = {}
        for class_name, names in classes.items():
            maps = {file: each for file in names if (each := self._map(file, read)) is not None}
            if len(maps) < 2:
                self.small.append(class_name)
            else:
                found[class_name] = np.stack([*maps.values()])
                self.kept[split] += maps
        return found

    def add_backwards(self, classes: dict[str, Maps]) -> None:
        """Add a class for each of meta-train: its spectrograms mirrored in time."""
        files = self.kept["train"]
        classes.update({f"{name} backwards": maps[..., ::-1] for name, maps in tuple(classes.items())})
        files += tuple(files)

    def _map(self, file: str, read: ReadFile) -> NDArray[np.float32] | None:
        wave, rate = decode(f"{self.root}: {file}", read(file), self.features.rate)
        if (why := why_unusable(self.features, wave)) is not None:
            self.skipped[why].append(file)
            return None
        self.rates[rate] += 1
        self.lengths.append(len(wave))
        return self.features.of(wave)

    def notes(self) -> list[str]:
        """Return a clause for each thing that may be an oversight."""
        notes = [
            f"{counted(len(files), 'recording')} skipped because {'it is' if len(files) == 1 else 'they are'} {why}, "
            f"{'' if len(files) == 1 else 'such as '}{files[0]}"
            for why, files in self.skipped.items()
        ]
        if self.small:
            what = f"{counted(len(self.small), 'class')} with fewer than two usable recordings skipped"
            notes.append(f"{what}, {'' if len(self.small) == 1 else 'such as '}'{self.small[0]}'")
        if len(self.rates) > 1 or min(self.rates, default=self.features.rate) < self.features.rate:
            rates = ", ".join(f"{count:,} of {rate:,} Hz" for rate, count in sorted(self.rates.items()))
            notes.append(f"sample rates differ from data.rate={self.features.rate} and were converted: {rates}")
        return notes

    def cropped(self) -> tuple[str, ...]:
        """Return a clause if recordings are longer than an example."""
        longer = sum(length > self.features.samples for length in self.lengths)
        if not longer:
            return ()
        longest = max(self.lengths) / self.features.rate
        return (
            f"the ends of {counted(longer, 'recording')} longer than data.seconds={self.features.seconds:g} (up to "
            f"{longest:.1f} s)",
        )
