"""Log-mel spectrograms: from the samples of a recording to a map of frequency and time."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from metarun.errors import UserError

_QUIETEST = 1e-6  # 60 dB below a sine of the recording's peak
SILENCE = 1e-4  # a recording whose peak is 80 dB below full scale has nothing to hear
# The logarithms are rounded to this step, far below what can be heard, so that machines whose FFT and logarithm differ
# in the last bit agree on every byte.
_STEP = 2.0**-12
_AT_ONCE = 256  # frames, to bound the memory for a long recording


def check_rate(rate: int) -> None:
    """Raise a UserError if a number of samples per second is out of range."""
    if rate < 1:
        raise UserError(f"data.rate={rate} but it must be at least 1", "set it to samples per second.")


@dataclass(frozen=True)
class LogMel:
    """How recordings of any length become maps of one size.

    A map is ln(power in each mel band), of frames that are centred every `hop` samples and weighted by a periodic Hann
    window. A recording that is too long keeps its middle, one that is too short is padded with silence on both sides.
    Then it is scaled to a peak of 1, since the level depends on the microphone; power is relative to a sine of that
    peak, and at least 1e-6.

    Args:
        rate: samples per second.
        seconds: length of a map.
        mels: bands.
        fft: samples per frame.
        hop: samples from one frame to the next.
    """

    rate: int
    seconds: float
    mels: int
    fft: int
    hop: int

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not 2 <= self.fft <= 1 << 16:
            raise UserError(f"data.fft={self.fft} but a frame has 2 to 65,536 samples", "set it, such as to 512.")
        if not 1 <= self.hop <= self.fft:
            raise UserError(
                f"data.hop={self.hop} but it must be 1 to data.fft={self.fft}, or samples would be skipped",
                "set `data.hop`, such as to half of `data.fft`.",
            )
        if not 0 < self.seconds < float("inf") or self.frames < 1:
            raise UserError(
                f"data.seconds={self.seconds} is shorter than data.hop={self.hop} samples, or not finite",
                "set `data.seconds`, such as to 1.",
            )
        if self.mels < 1 or not mel_filters(self.rate, self.fft, self.mels).any(1).all():
            raise UserError(
                f"data.mels={self.mels} but each band needs at least one frequency of data.fft={self.fft}",
                "lower `data.mels` or raise `data.fft`.",
            )

    @property
    def frames(self) -> int:
        """How many a map has."""
        return round(self.rate * self.seconds) // self.hop

    @property
    def samples(self) -> int:
        """How many a map is made of."""
        return self.frames * self.hop

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a map: (1, mels, frames)."""
        return 1, self.mels, self.frames

    def is_silent(self, wave: NDArray[np.floating]) -> bool:
        """Whether what a map is made of has no sample above -80 dB."""
        return bool(np.abs(fitted(wave, self.samples)).max() < SILENCE)

    def of(self, wave: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the map (1, mels, frames) of a mono recording.

        Args:
            wave: (samples,) at `rate`, in [-1, 1]; not silent.
        """
        window = hann(self.fft)
        full_scale = (window.sum() / 2) ** 2  # of a sine of amplitude 1, in its bin
        margin = self.fft - self.hop
        middle = fitted(wave, self.samples).astype(np.float64)
        padded = np.pad(middle / np.abs(middle).max(), (margin // 2, margin - margin // 2))
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.fft)[:: self.hop]
        filters = mel_filters(self.rate, self.fft, self.mels)
        found = np.empty(self.shape, np.float32)
        for first in range(0, self.frames, _AT_ONCE):
            spectrum = np.fft.rfft(frames[first : first + _AT_ONCE] * window)
            power = (spectrum.real**2 + spectrum.imag**2) / full_scale  # (frames, fft // 2 + 1)
            bands = np.log(np.maximum(power @ filters.T, _QUIETEST))
            found[0, :, first : first + _AT_ONCE] = (np.rint(bands / _STEP) * _STEP).T
        return found


def hann(samples: int) -> NDArray[np.float64]:
    """Return the periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def fitted(wave: NDArray[np.floating], samples: int) -> NDArray[np.floating]:
    """Return the middle of a recording, or the recording with as much silence before it as after it."""
    surplus = len(wave) - samples
    if surplus >= 0:
        return wave[surplus // 2 : surplus // 2 + samples]
    return np.pad(wave, (-surplus // 2, -surplus - -surplus // 2))


@cache
def mel_filters(rate: int, fft: int, mels: int) -> NDArray[np.float64]:
    """Return (mels, fft // 2 + 1) weights of the frequencies of an FFT: triangles of height 1, as in HTK.

    Their corners are equally spaced from 0 to rate / 2 on the mel scale 2595 log10(1 + f / 700) (Young et al., The HTK
    Book, section 5.4).
    """
    corners = 700 * (10 ** (np.linspace(0, _mel(rate / 2), mels + 2) / 2595) - 1)
    low, middle, high = (corners[i : i + mels, None] for i in range(3))
    frequencies = np.arange(fft // 2 + 1) * rate / fft
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    weights.setflags(write=False)  # it is shared
    return weights


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))
