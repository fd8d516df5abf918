"""The features of Whisper beside a twin that takes one frame at a time."""

from __future__ import annotations

import numpy as np
import pytest

from reference import log_mel_ref
from voxgate.audio.files.read import read_audio
from voxgate.recordings import path
from voxgate.vad.turns.log_mel import log_mel

NOISE = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)


@pytest.mark.parametrize(
    "samples",
    [
        NOISE,
        np.concatenate([np.zeros(16_000, np.float32), NOISE]),
        np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000).astype(np.float32),
        NOISE[:1234],
    ],
    ids=["noise", "silence before it", "a tone", "no whole number of hops"],
)
def test_like_the_twin(samples):
    features = log_mel(samples)
    assert (features.dtype, features.shape) == (np.float32, (80, len(samples) // 160))
    np.testing.assert_allclose(features, log_mel_ref.log_mel(samples), atol=2e-5)


@pytest.mark.parametrize("n_silent", [0, 1, 199, 200, 359, 360, 361, 7999, 8000])
def test_frames_of_silence_at_the_beginning_are_computed_once(n_silent, monkeypatch):
    samples = np.concatenate([np.zeros(n_silent, np.float32), NOISE])[:8000]
    n_computed = []
    rfft = np.fft.rfft
    monkeypatch.setattr(np.fft, "rfft", lambda frames: n_computed.append(len(frames)) or rfft(frames))
    features = log_mel(samples, n_silent)
    # The frame k hears 200 samples before and after the sample 160 k.
    assert n_computed == [50 - sum(160 * k + 200 <= n_silent for k in range(1, 50))]
    np.testing.assert_allclose(features, log_mel_ref.log_mel(samples), atol=2e-5)


def test_silence_is_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(16_000, np.float32)), np.full((80, 100), -1.5), rtol=1e-6)


def test_the_level_does_not_matter():
    planes, _ = read_audio(path("demo"))
    speech = planes[0, 8000:40_000]
    np.testing.assert_allclose(log_mel(speech / 4), log_mel(speech), atol=2e-3)
