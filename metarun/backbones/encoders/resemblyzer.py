"""Resemblyzer's voice encoder, which tells speakers apart."""

from functools import cache

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metarun.backbones.encoders.encoder import Encoder
from metarun.backbones.encoders.files import find, hash_of, state_dict
from metarun.data.examples import Values
from metarun.errors import UserError, reason_of
from metarun.system.inputs import Inputs
from metarun.system.paths import PathText

_RATE, _FFT, _HOP, _MELS = 16_000, 400, 160, 40
_FRAMES = 160  # 1.6 s, which the network was trained on
_STEP = 77  # frames from one window of a longer recording to the next: 1.3 a second
_COVERED = 0.75  # a window less covered by sound is skipped
_LEVEL = 10 ** (-30 / 20)  # root mean square of a recording: -30 dBFS, to which training raised quiet ones


class Resemblyzer(Encoder):
    """The mean over windows of 1.6 seconds of an LSTM's last state, of length 1 (Wan et al. 2018, GE2E,
    https://arxiv.org/abs/1710.10467; weights of https://github.com/resemble-ai/Resemblyzer, Apache 2).

    The mel spectrogram (power, without a logarithm) is computed here as librosa does, so that neither librosa nor
    webrtcvad is needed. Silence at both ends is removed, silence within a recording is not.

    Args:
        weights: a file of its weights: `pretrained.pt` of the package, or safetensors.
        saw: on what it was trained, for tables.

    Raises:
        UserError: the file is missing or has other weights.
    """

    reads = "sounds"
    features = 256

    def __init__(self, weights: PathText, saw: str = "LibriSpeech, VoxCeleb 1 and 2 (voices)") -> None:
        super().__init__()
        path = find(weights, "backbone.encoder.weights")
        self.lstm, self.linear = nn.LSTM(_MELS, 256, 3, batch_first=True), nn.Linear(256, 256)
        found = state_dict(path)
        found = found.get("model_state", found)
        try:
            self.load_state_dict({name: found[name] for name in self.state_dict()})
        except (KeyError, RuntimeError, AttributeError) as error:
            raise UserError(
                f"{path} has no weights of Resemblyzer's voice encoder ({reason_of(error)[:200]})", "name another."
            ) from error
        self.saw = saw
        self.hash = hash_of("Resemblyzer", {"weights": path}, {})

    def prepare(self, raw: Values) -> Values:
        """Return mel spectrograms (n, frames, 40) of recordings (n, samples) at 16 kHz."""
        windows = 1 + max(0, -(-(-(-raw.shape[1] // _HOP) - _FRAMES) // _STEP))
        samples = (_FRAMES + _STEP * (windows - 1)) * _HOP
        return np.stack([mel_spectrogram(_levelled(wave), samples) for wave in raw])

    def forward(self, x: Inputs) -> Tensor:
        """Map spectrograms (n, frames, 40) to (n, 256)."""
        assert isinstance(x, Tensor)
        windows = x.unfold(1, _FRAMES, _STEP).transpose(2, 3)  # (n, windows, 160, 40)
        covered = (windows.sum(-1) > 0).float().mean(-1) >= _COVERED
        covered[:, 0] = True
        _, (last, _) = self.lstm(windows.flatten(0, 1))
        each = F.normalize(F.relu(self.linear(last[-1])), dim=-1).reshape(*windows.shape[:2], -1)
        return F.normalize((each * covered[..., None]).sum(1), dim=-1)


def _levelled(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a recording without the silence at its ends, at -30 dBFS: its own level is lost in an example."""
    there = np.flatnonzero(wave)
    sound = wave[there[0] : there[-1] + 1] if len(there) else wave
    level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
    return sound * np.float32(_LEVEL / level) if level else sound


def mel_spectrogram(wave: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Return power in 40 bands (samples // 160, 40) of a recording followed by silence, as librosa computes it."""
    padded = np.pad(wave.astype(np.float64), (_FFT // 2, samples - len(wave) + _FFT // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][: samples // _HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    return np.asarray(power @ _slaney_filters().T, np.float32)


@cache
def _slaney_filters() -> NDArray[np.float64]:
    """Return (40, 201) triangles of equal area, linear below 1 kHz and logarithmic above (Slaney 1998)."""
    mels = np.linspace(0, 15 + np.log(_RATE / 2 / 1000) / (np.log(6.4) / 27), _MELS + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    low, middle, high = (corners[i : i + _MELS, None] for i in range(3))
    frequencies = np.arange(_FFT // 2 + 1) * _RATE / _FFT
    triangles = np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle))
    weights: NDArray[np.float64] = np.maximum(0.0, triangles) * 2 / (high - low)
    return weights
