"""The samples of a recording themselves, for networks that make their own spectrograms of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metarun.data.sounds.log_mel import SILENCE, LogMel, check_rate, fitted
from metarun.errors import UserError

SoundFeatures = Literal["log_mel", "waves"]


@dataclass(frozen=True)
class Waves:
    """How recordings of any length become as many samples, scaled to a peak of 1.

    One that is too long keeps its middle, one that is too short is padded with silence on both sides, as by `LogMel`.

    Args:
        rate: samples per second.
        seconds: length of an example.
    """

    rate: int
    seconds: float

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not 0 < self.seconds < float("inf") or self.samples < 2:
            raise UserError(
                f"data.seconds={self.seconds} has fewer than 2 samples, or is not finite", "set it, such as to 1.6."
            )

    @property
    def samples(self) -> int:
        """Of an example."""
        return round(self.rate * self.seconds)

    @property
    def shape(self) -> tuple[int]:
        """Of an example: (samples,)."""
        return (self.samples,)

    @property
    def fft(self) -> int:
        """How many samples a recording has at least: it needs no whole frame."""
        return 1

    def is_silent(self, wave: NDArray[np.floating]) -> bool:
        """Whether an example has no sample above -80 dB."""
        return bool(np.abs(fitted(wave, self.samples)).max() < SILENCE)

    def of(self, wave: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the example (samples,) of a mono recording that is not silent."""
        middle = fitted(wave, self.samples)
        return np.ascontiguousarray(middle / np.abs(middle).max(), np.float32)


def sound_features(features: SoundFeatures, rate: int, seconds: float, mels: int, fft: int, hop: int) -> LogMel | Waves:
    """Return what makes examples of recordings, by `data.features`."""
    if features not in ("log_mel", "waves"):
        raise UserError(f"data.features={features} is not one of log_mel, waves.")
    return Waves(rate, seconds) if features == "waves" else LogMel(rate, seconds, mels, fft, hop)
