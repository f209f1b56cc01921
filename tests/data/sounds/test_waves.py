"""Recordings as their samples, for encoders of sounds."""

import numpy as np
import pytest

from metarun.data import Audio
from metarun.data.encoders import encoder_of
from metarun.data.encoding import Encoding
from metarun.data.sounds.waves import Waves
from metarun.errors import UserError
from tests.support.fake_sounds import write_tones


def test_a_wave_is_the_middle_of_a_recording_with_a_peak_of_1():
    wave = np.array([9, 1, -2, 1, 9], np.float64) / 10
    assert Waves(rate=3, seconds=1.0).of(wave).tolist() == [0.5, -1.0, 0.5]
    assert Waves(rate=4, seconds=1.5).of(np.array([0.1, 0.2])).tolist() == [0, 0, 0.5, 1, 0, 0]
    assert Waves(4, 1.5).of(wave).dtype == np.float32


def test_settings_without_samples_are_refused():
    with pytest.raises(UserError, match=r"data\.seconds=0\.1 has fewer than 2 samples, or is not finite; set it"):
        Waves(10, 0.1)
    with pytest.raises(UserError, match=r"data\.features=mfcc is not one of log_mel, waves"):
        Audio("sounds", features="mfcc")


def test_own_recordings_become_waves_as_in_training(root, tmp_path):
    write_tones(tmp_path / "sounds", [f"c{i}" for i in range(6)])
    data = Audio(str(tmp_path / "sounds"), rate=8_000, seconds=0.2, features="waves").load()
    assert data.shape == (1_600,)
    assert data.display().sound
    encoder = encoder_of(Encoding.from_arrays(data.encoding().to_arrays()))
    (name,) = data.splits["val"].class_names[:1]
    files = sorted((tmp_path / "sounds" / name).iterdir())
    expected = data.splits["val"].of_class(name)
    assert np.array_equal(np.stack([encoder.encode(file.name, file.read_bytes()) for file in files]), expected)
