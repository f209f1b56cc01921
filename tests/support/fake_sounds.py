"""Small recordings: tones whose pitch is their class."""

import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def tone(pitch: float, seconds: float = 0.2, rate: int = 8_000, start: float = 0.0) -> NDArray[np.float64]:
    """A sine of amplitude 0.5."""
    return 0.5 * np.sin(2 * np.pi * pitch * (np.arange(round(seconds * rate)) / rate + start))


def write_wav(path: Path, samples: NDArray[np.float64], rate: int = 8_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())


def write_tones(folder: Path, classes: Iterable[str], count: int = 3) -> None:
    """Write `count` recordings of each class into `folder/<class>/`."""
    for place, class_name in enumerate(classes):
        for take in range(count):
            write_wav(folder / class_name / f"{take}.wav", tone(300 + 100 * place, start=take / 1_000))
