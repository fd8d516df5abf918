from __future__ import annotations

import json
import math
import threading
from typing import Any

import numpy as np
import pytest

from reference import features_ref
from voxgate.models import features
from voxgate.models.features import Features

RATE = 16_000


@pytest.fixture(scope="module")
def model() -> Features:
    return Features()


def sine(hz: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def sawtooth(hz: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    """Harmonics up to 4 kHz, as in anything that was recorded; a naive ramp would alias."""
    phase = 2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, int(4000 / hz) + 1))
    return (amplitude * 2 / np.pi * wave).astype(np.float32)


def noise(seconds: float = 1.0, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.random.default_rng(5).standard_normal(round(seconds * RATE))).astype(np.float32)


def speech_like() -> np.ndarray:
    """A gliding voice, a pause, noise: voiced, silent and unvoiced frames."""
    t = np.arange(RATE) / RATE
    phase = 2 * np.pi * (100 * t + 60 * t**2)
    voice = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 12))
    return np.concatenate([voice, np.zeros(RATE // 2), noise(0.5)]).astype(np.float32)


@pytest.mark.parametrize("hz", [62.0, 80.0, 117.3, 220.0, 333.0, 440.0, 495.0])
@pytest.mark.parametrize("wave", [sine, sawtooth])
def test_pitch_of_known_waves(model: Features, wave: Any, hz: float) -> None:
    answer = model.infer(wave(hz))
    assert answer["pitch_hz"] == pytest.approx(hz, rel=0.002)
    assert answer["voiced_ratio"] == 1.0


@pytest.mark.parametrize("amplitude", [0.002, 0.1, 1.0])
@pytest.mark.parametrize("wave", [sine, sawtooth])
def test_pitch_does_not_depend_on_the_level(model: Features, wave: Any, amplitude: float) -> None:
    assert model.infer(wave(150, amplitude=amplitude))["pitch_hz"] == pytest.approx(150, rel=0.002)


def test_pitch_survives_an_offset_and_a_little_noise(model: Features) -> None:
    assert model.infer(sawtooth(150) + np.float32(0.3))["pitch_hz"] == pytest.approx(150, rel=0.002)
    assert model.infer(sawtooth(150) + noise(amplitude=0.01))["pitch_hz"] == pytest.approx(150, rel=0.005)


@pytest.mark.parametrize(
    "audio",
    [noise(), np.zeros(RATE, np.float32), np.full(RATE, 0.5, np.float32), sine(150, amplitude=0.001), sine(30)],
    ids=["noise", "silence", "constant", "below -60 dBFS", "below 60 Hz"],
)
def test_unvoiced(model: Features, audio: np.ndarray) -> None:
    answer = model.infer(audio)
    assert answer["pitch_hz"] is None
    assert answer["voiced_ratio"] == 0.0


def test_voiced_ratio_counts_frames(model: Features) -> None:
    assert model.infer(np.concatenate([sine(200), noise()]))["voiced_ratio"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("audio", "level_dbfs", "peak_dbfs"),
    [
        (sine(440, amplitude=1.0), -3.01, 0.0),
        (sine(440, amplitude=0.1), -23.01, -20.0),
        (np.full(100, -1.0, np.float32), 0.0, 0.0),
        (np.zeros(100, np.float32), -120.0, -120.0),
        (np.full(100, 1e-9, np.float32), -120.0, -120.0),
    ],
)
def test_levels(model: Features, audio: np.ndarray, level_dbfs: float, peak_dbfs: float) -> None:
    answer = model.infer(audio)
    assert answer["level_dbfs"] == pytest.approx(level_dbfs, abs=0.02)
    assert answer["peak_dbfs"] == pytest.approx(peak_dbfs, abs=0.02)


@pytest.mark.parametrize("hz", [500, 1000, 3000, 7000])
def test_centroid_of_a_sine_is_its_frequency(model: Features, hz: int) -> None:
    assert model.infer(sine(hz))["spectral_centroid_hz"] == pytest.approx(hz, rel=0.02)


def test_centroid_of_white_noise_is_in_the_middle(model: Features) -> None:
    assert model.infer(noise())["spectral_centroid_hz"] == pytest.approx(4000, rel=0.03)


LENGTHS = [0, 1, 2, 255, 256, 257, 511, 512, 513, 666, 667, 668, 767, 768, 769, 986, 987, 988, 5000, 32_000]


@pytest.mark.parametrize("n_samples", LENGTHS)
def test_agrees_with_the_oracle_at_every_border(model: Features, n_samples: int) -> None:
    agree(model.infer(speech_like()[:n_samples]), features_ref.features(speech_like()[:n_samples]))


@pytest.mark.parametrize("audio", [sine(100), sawtooth(87.5), noise(), np.zeros(3000, np.float32), sine(200, 0.05)])
def test_agrees_with_the_oracle(model: Features, audio: np.ndarray) -> None:
    agree(model.infer(audio), features_ref.features(audio))


def agree(answer: Any, expected: dict[str, Any]) -> None:
    assert list(answer) == list(expected)
    for key, value in expected.items():
        if value is None:
            assert answer[key] is None, key
        else:
            assert answer[key] == pytest.approx(value, rel=1e-3, abs=6e-3), key


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_count_as_zero(model: Features, bad: float) -> None:
    audio = sine(200)
    audio[[0, 777, -1]] = bad
    zeroed = np.where(np.isfinite(audio), audio, np.float32(0))
    assert model.infer(audio) == model.infer(zeroed)
    assert not np.isfinite(audio[777])  # The input is left as it was.


@pytest.mark.parametrize("n_samples", [0, 1, 100, 20_000])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e18])
def test_every_number_is_finite_and_json(model: Features, n_samples: int, scale: float) -> None:
    rng = np.random.default_rng(2)
    answer = model.infer((scale * rng.standard_normal(n_samples)).astype(np.float32))
    json.dumps(dict(answer), allow_nan=False)
    assert {type(value) for value in answer.values()} <= {float, type(None)}


@pytest.mark.parametrize(
    "make",
    [lambda x: np.repeat(x, 2)[::2], lambda x: np.frombuffer(x.tobytes(), np.float32), lambda x: x.astype(np.float64)],
    ids=["strided", "read-only", "float64"],
)
def test_other_arrays_are_taken_too(model: Features, make: Any) -> None:
    assert model.infer(make(sine(200))) == model.infer(sine(200))


def test_many_threads_share_one_model(model: Features) -> None:
    audios = [sawtooth(80 + 30 * i, 0.5) for i in range(8)]
    expected = [model.infer(audio) for audio in audios]
    answers: dict[int, list[Any]] = {}
    barrier = threading.Barrier(len(audios))

    def work(i: int) -> None:
        barrier.wait()
        answers[i] = [model.infer(audios[i]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(audios))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [expected[i]] * 20 for i in range(len(audios))}


def test_the_kernels_release_the_gil_and_are_compiled_already() -> None:
    for kernel in (features._power, features._pitches, features._centroid):
        assert kernel.targetoptions["nogil"]  # type: ignore[attr-defined]
        assert len(kernel.nopython_signatures) == 1  # type: ignore[attr-defined]
