"""The soxr resampler, and whole recordings."""

import numpy as np
import pytest

from reference import resample_ref as ref
from voxgate._native import resample as native
from voxgate.audio.soxr import SoxrResampler, resample, resampled_length
from voxgate.protocol.formats import MAX_RATE, MIN_RATE

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 44_101]


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(44_100, 16_000), (8_000, 16_000), (4_000, 192_000), (192_000, 4_001)]
)
@pytest.mark.parametrize("n_samples", [0, 1, 7, 4_001])
def test_soxr_obeys_the_law(from_rate, to_rate, n_samples):
    resampler = SoxrResampler(from_rate, to_rate, 2)
    planes = np.random.default_rng(7).uniform(-1, 1, (2, n_samples)).astype(np.float32)
    for _ in range(2):
        pieces = [resampler.push(planes[:, start : start + 100]) for start in range(0, n_samples, 100)]
        got = np.concatenate([*pieces, resampler.finish()], axis=1)
        assert got.shape == (2, ref.output_length(n_samples, from_rate, to_rate))
        assert (resampler.consumed, resampler.produced) == (0, 0)


def test_soxr_refuses_another_shape():
    with pytest.raises(ValueError, match=r"planes must have shape \(2, n\), got \(1, 5\)"):
        SoxrResampler(48_000, 16_000, 2).push(np.zeros((1, 5), np.float32))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n_samples", [0, 1, 2, 5, 1_000, 44_103])
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_one_shot(rate, n_samples, shape):
    samples = np.random.default_rng(8).uniform(-0.5, 0.5, (*shape, n_samples)).astype(np.float32)
    got = resample(samples, rate, 16_000)
    assert got.shape == (*shape, ref.output_length(n_samples, rate, 16_000))
    assert got.dtype == np.float32
    assert not np.shares_memory(got, samples)


def test_one_shot_keeps_a_tone():
    samples = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    got = resample(samples, 44_100, 16_000, "VHQ")
    want = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(got[500:-500], want[500:-500], atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "from_rate", "quality", "error", "message"),
    [
        (np.zeros(10, np.int16), 48_000, "HQ", TypeError, "array of floats, -1..1, got int16"),
        ([0.0, 0.0], 48_000, "HQ", TypeError, "array of floats, -1..1, got list"),
        (np.zeros((1, 2, 3)), 48_000, "HQ", ValueError, r"shape \(n,\) or \(channels, n\), got \(1, 2, 3\)"),
        (np.zeros((0, 3)), 48_000, "HQ", ValueError, r"got \(0, 3\)"),
        (np.zeros(()), 48_000, "HQ", ValueError, r"got \(\)"),
        (np.zeros(10), 100, "HQ", ValueError, "from_rate must be within"),
        (np.zeros(10), 48_000, "hq", ValueError, "quality must be one of"),
    ],
)
def test_one_shot_refuses(samples, from_rate, quality, error, message):
    with pytest.raises(error, match=message):
        resample(samples, from_rate, 16_000, quality)


@pytest.mark.parametrize("rate", [*RATES, MIN_RATE, MAX_RATE])
@pytest.mark.parametrize("n_samples", [0, 1, 2, 5, 1_000, 44_103])
def test_the_length_of_resampled_audio_is_that_of_both_resamplers(rate, n_samples):
    expected = resampled_length(n_samples, rate, 16_000)
    assert expected == ref.output_length(n_samples, rate, 16_000)
    planes = np.zeros((1, n_samples), np.float32)
    for resampler in (native.Resampler(rate, 16_000, 1), SoxrResampler(rate, 16_000, 1)):
        assert resampler.push(planes).shape[1] + resampler.finish().shape[1] == expected


def test_the_length_of_resampled_audio_is_exact_beyond_doubles():
    assert resampled_length(2**60 + 1, 3, 2) == (2**61 + 2 + 1) // 3
    assert resampled_length(3, 2, 1) == 2  # a half is rounded up


def test_the_native_code_has_the_same_range_of_rates():
    assert (native.MIN_RATE, native.MAX_RATE) == (MIN_RATE, MAX_RATE) == (4_000, 192_000)
