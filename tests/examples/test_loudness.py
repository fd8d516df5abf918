"""examples/loudness.py, served: the numbers of the standard, and those of a filter that runs through the samples."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.wire import STOP, Client, encode, of_type, start, stream
from voxgate import recordings, vad
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.models import load_model

RATE = 16_000


def sine(hz: float, amplitude: float, seconds: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def filtered_lufs(module, audio: np.ndarray) -> float:
    """The same by the letter of BS.1770: two filters at 48 kHz, sample after sample."""
    samples = resample(audio, RATE, 48_000).tolist()
    for (b0, b1, b2), (_, a1, a2) in module.K_WEIGHTING:
        x1 = x2 = y1 = y2 = 0.0
        out = []
        for x in samples:
            y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x1, x2, y1, y2 = x, x1, y, y1
            out.append(y)
        samples = out
    return float(-0.691 + 10 * np.log10(np.mean(np.square(samples))))


@pytest.mark.parametrize(("amplitude", "expected"), [(1.0, -3.0), (0.1, -23.0)])
def test_a_tone_of_997_hz_has_the_loudness_that_the_standard_says(model_server, example, amplitude, expected):
    server = model_server(example("loudness").loudness, {"simple.min_chunk_ms": 1000})
    events = stream(server.url("simple"), start(encoding="f32"), encode(sine(997, amplitude), "f32"))
    assert events == [
        {
            "type": "segment",
            "start_time": 0.0,
            "end_time": 1.0,
            "lufs": expected,
            "rms_dbfs": expected,
            "peak_dbfs": round(20 * np.log10(amplitude), 1),
            "gain_db": -23.0 - expected,
            "channel": 0,
        }
    ]


def test_utterances_are_as_loud_as_a_filter_finds_them(model_server, example):
    module = example("loudness")
    planes, rate = read_audio(recordings.path("demo"))
    server = model_server(module.loudness, {"vad.detector": "silero"})
    results = of_type(stream(server.url(), start(rate), encode(planes)), "segment")
    bounds = vad.segments(planes[0], rate)
    assert [one["start_time"] for one in results] == pytest.approx([start_s for start_s, _ in bounds], abs=1e-3)
    for result, (start_s, end_s) in zip(results, bounds, strict=True):
        audio = planes[0, round(start_s * rate) : round(end_s * rate)]
        assert result["lufs"] == pytest.approx(filtered_lufs(module, audio), abs=0.1)
        assert result["rms_dbfs"] == pytest.approx(10 * np.log10(np.mean(audio**2)), abs=0.06)


def test_what_is_too_short_is_refused_in_words_and_the_stream_goes_on(model_server, example):
    server = model_server(example("loudness").loudness, {"simple.min_chunk_ms": 1000})
    audio = encode(sine(440, 0.5))
    with Client(server.url("simple")) as client:
        client.send(start(), audio[:1600], {"request": "flush"})
        error = client.receive()
        assert error is not None
        assert (error["type"], error["code"]) == ("error", "inference_failed")
        assert error["message"] == "too short for a loudness: 50 ms, expected 100 or more"
        client.send(audio, STOP)
        (result,) = client.rest()
    assert (result["type"], result["start_time"]) == ("segment", 0.05)


def test_the_target_is_an_argument(example):
    example("loudness")
    model = load_model("loudness:loudness", {"target_lufs": -16.0})
    assert model.infer(sine(997, 0.1))["gain_db"] == 7.0


@pytest.mark.parametrize("n_samples", [RATE, RATE + 1])
def test_a_constant_is_a_level_and_no_loudness(example, n_samples):
    answer = example("loudness").loudness(np.full(n_samples, 0.5, np.float32))
    assert (answer["rms_dbfs"], answer["peak_dbfs"]) == (-6.0, -6.0)
    assert answer["lufs"] < -120


def test_silence_has_a_floor(example):
    answer = example("loudness").loudness(np.zeros(RATE, np.float32))
    assert (answer["rms_dbfs"], answer["peak_dbfs"]) == (-120.0, -120.0)
