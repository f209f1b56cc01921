"""Log-mel spectrograms against scipy's spectrogram, and a mel filter bank by hand."""

import numpy as np
import pytest
import scipy.signal

from metarun.data.sounds.log_mel import LogMel, fitted, hann, mel_filters
from metarun.errors import UserError


def test_the_spectrogram_is_scipys_through_the_filters():
    wave = np.random.default_rng(0).normal(0, 0.1, 1_600)
    log_mel = LogMel(rate=8_000, seconds=0.2, mels=10, fft=256, hop=100)
    padded = np.pad(wave / np.abs(wave).max(), (78, 78))  # (fft - hop) / 2 on each side: frames are centred
    _, _, power = scipy.signal.spectrogram(
        padded, 8_000, scipy.signal.get_window("hann", 256), 256, 156, detrend=False, scaling="spectrum", mode="psd"
    )
    power[1:-1] /= 2  # one-sided: scipy adds the negative frequencies
    expected = np.log(
        mel_filters(8_000, 256, 10) @ power * 4
    )  # relative to a sine of amplitude 1, whose power is 1 / 4
    assert log_mel.shape == (1, 10, 16)
    assert np.abs(log_mel.of(wave)[0] - expected).max() < 2**-12


def test_a_sine_of_full_scale_has_power_one_in_its_bin():
    wave = np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000)
    log_mel = LogMel(rate=8_000, seconds=1.0, mels=8, fft=256, hop=128)
    weight = mel_filters(8_000, 256, 8)[:, 32]  # 1,000 Hz is bin 32 of 31.25 Hz
    found = log_mel.of(wave)[0, :, 30]
    assert np.exp(found[weight > 0]) == pytest.approx(
        mel_filters(8_000, 256, 8)[weight > 0][:, 31:34] @ [0.25, 1, 0.25], abs=1e-3
    )


def test_mel_filters_by_hand():
    """Two bands of a rate of 1,400 Hz: the mel of 700 Hz is 2595 log10(2), in thirds: 700 * (2^(1/3) - 1), ..."""
    corners = [0, 700 * (2 ** (1 / 3) - 1), 700 * (2 ** (2 / 3) - 1), 700]  # 0, 181.9, 411.2, 700
    filters = mel_filters(1_400, 14, 2)  # frequencies 0, 100, ..., 700
    expected = [
        [0, 100 / corners[1], *((corners[2] - f) / (corners[2] - corners[1]) for f in (200, 300, 400)), 0, 0, 0],
        [0, 0, *((f - corners[1]) / (corners[2] - corners[1]) for f in (200, 300, 400))]
        + [(700 - f) / (700 - corners[2]) for f in (500, 600, 700)],
    ]
    assert np.allclose(filters, expected)


def test_the_level_does_not_count():
    wave = np.random.default_rng(0).normal(0, 0.1, 1_600)
    log_mel = LogMel(8_000, 0.2, 10, 256, 100)
    assert np.allclose(log_mel.of(wave), log_mel.of(wave / 50), atol=1e-3)


def test_silent_is_what_has_no_sample_above_80_db_below_full_scale():
    log_mel = LogMel(8_000, 0.2, 10, 256, 100)
    assert log_mel.is_silent(np.full(1_600, 9e-5))
    assert not log_mel.is_silent(np.full(1_600, 2e-4))
    assert log_mel.is_silent(np.concatenate([np.ones(100), np.zeros(1_600), np.ones(100)])), "its middle is"


def test_the_window_is_the_periodic_hann():
    assert np.allclose(hann(8), scipy.signal.get_window("hann", 8))


@pytest.mark.parametrize(("samples", "expected"), [(2, [3, 4]), (3, [2, 3, 4]), (6, [1, 2, 3, 4, 5, 6])])
def test_a_long_recording_keeps_its_middle(samples, expected):
    assert fitted(np.arange(1.0, 7.0), samples).tolist() == expected


def test_a_short_recording_is_between_silence():
    assert fitted(np.array([1.0, 2.0]), 5).tolist() == [0, 1, 2, 0, 0]


def test_long_maps_are_made_in_pieces():
    wave = np.random.default_rng(0).choice([-0.1, 0.1], 60_000)  # any part has the same peak
    whole = LogMel(8_000, 7.5, 10, 256, 100).of(wave)
    assert whole.shape == (1, 10, 600)
    part = LogMel(8_000, 2.5, 10, 256, 100).of(wave[20_000:40_000])
    assert np.array_equal(whole[..., 205:395], part[..., 5:195])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rate": 0}, "data.rate=0 but it must be at least 1"),
        ({"seconds": 0.001}, "data.seconds=0.001 is shorter than data.hop=100 samples"),
        ({"seconds": float("inf")}, "data.seconds=inf is shorter than .* or not finite"),
        ({"mels": 0}, "data.mels=0 but each band needs"),
        ({"mels": 200}, "data.mels=200 but each band needs at least one frequency of data.fft=256; lower"),
        ({"fft": 1, "hop": 1}, "data.fft=1 but a frame has 2 to 65,536 samples"),
        ({"hop": 300}, "data.hop=300 but it must be 1 to data.fft=256"),
    ],
)
def test_settings_out_of_range_are_refused(changed, message):
    with pytest.raises(UserError, match=message):
        LogMel(**{"rate": 8_000, "seconds": 1.0, "mels": 32, "fft": 256, "hop": 100, **changed})
