"""WAV files, as a library reads them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from voxgate.models.openai.wav import wav


@pytest.mark.parametrize("n", [0, 1, 1601])
def test_a_library_reads_the_same_samples(n: int) -> None:
    audio = np.random.default_rng(1).uniform(-1, 1, n).astype(np.float32)
    samples, rate = soundfile.read(io.BytesIO(wav(audio, 16_000)), dtype="float32")
    assert rate == 16_000
    assert samples.shape == (n,)
    np.testing.assert_allclose(samples, audio, atol=0.5 / 32768 + 1e-7)


def test_loud_samples_are_clipped() -> None:
    samples, _ = soundfile.read(io.BytesIO(wav(np.array([2, 1, -1, -3], np.float32), 8_000)), dtype="int16")
    assert samples.tolist() == [32767, 32767, -32768, -32768]
