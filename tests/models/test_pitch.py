from __future__ import annotations

import gc
import json
import math
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import pitch_ref
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.models import pitch
from voxgate.models.pitch import Pitch
from voxgate.recordings import path, truth

RATE, HOP = 16_000, 160


@pytest.fixture(scope="module")
def model() -> Pitch:
    return Pitch()


def sine(hz: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def voice(hz: np.ndarray, amplitude: float = 0.2) -> np.ndarray:
    """A buzz with the given pitch at each sample, its harmonics up to 4 kHz."""
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    wave = sum(np.sin(k * phase) / k * (k * hz < 4000) for k in range(1, int(4000 / hz.min()) + 1))
    return (amplitude * wave).astype(np.float32)


def noise(seconds: float = 1.0, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.random.default_rng(5).standard_normal(round(seconds * RATE))).astype(np.float32)


def talk() -> np.ndarray:
    """A gliding voice, a pause, noise, a voice an octave above, all without a regular border."""
    glide = voice(np.linspace(110, 190, 9_001))
    return np.concatenate([glide, np.zeros(4_003, np.float32), noise(0.2), voice(np.linspace(380, 300, 7_777))])


TALK = talk()


def cut(audio: np.ndarray, sizes: Iterable[int]) -> list[np.ndarray]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(audio[position : position + size])
        position += size
    return [*pieces, audio[position:]]


def in_calls(model: Pitch, pieces: Iterable[np.ndarray]) -> list[Mapping[str, Any]]:
    """Every answer of a session, the closing one included."""
    state = model.open()
    answers = [model.step(piece.copy(), state) for piece in pieces]
    answers.append(model.finish(state))
    return [answer for answer in answers if answer is not None]


def joined(answers: Iterable[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
    """All values of a session, after a look at whether they lie end to end."""
    pitches: list[Any] = []
    voicings: list[Any] = []
    for answer in answers:
        assert answer["pitch_start_s"] == round(0.01 * len(pitches), 2)
        assert len(answer["pitch_hz"]) == len(answer["voicing"]) > 0
        pitches += answer["pitch_hz"]
        voicings += answer["voicing"]
    return pitches, voicings


# No seam


@pytest.mark.parametrize("size", [1, 7, 159, 160, 161, 319, 320, 413, 414, 415, 666, 667, 668, 1600, 5000, 30_000])
def test_calls_of_any_size_give_what_one_call_gives(model: Pitch, size: int) -> None:
    whole = joined([model.infer(TALK)])
    assert joined(in_calls(model, cut(TALK, [size] * (len(TALK) // size)))) == whole
    assert len(whole[0]) == math.ceil(len(TALK) / HOP)
    assert any(whole[0])
    assert None in whole[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4_000), max_size=20), st.integers(0, len(TALK)), st.sampled_from([0, 10, 50, 130]))
def test_any_cutting_of_any_length_gives_the_same(sizes: list[int], n_samples: int, lookahead_ms: int) -> None:
    model = Pitch(lookahead_ms=lookahead_ms)
    audio = TALK[:n_samples]
    whole = model.infer(audio)
    pitches, voicings = joined(in_calls(model, cut(audio, sizes)))
    assert (pitches, voicings) == (whole["pitch_hz"], whole["voicing"])
    assert len(pitches) == math.ceil(n_samples / HOP)


def test_not_even_the_last_bit_differs(model: Pitch) -> None:
    """Before rounding: the arrays of the kernels themselves."""

    def raw(pieces: list[np.ndarray]) -> np.ndarray:
        state = model.open()
        return np.concatenate([*(model._advance(piece, state) for piece in pieces), model._conclude(state)], axis=1)

    assert raw(cut(TALK, [777] * 20)).tobytes() == raw([TALK]).tobytes()


def test_answers_come_as_soon_as_their_surroundings_are_known(model: Pitch) -> None:
    state = model.open()
    answer = None
    n_samples = 0
    while answer is None:
        answer = model.step(sine(200, 0.001), state)
        n_samples += 16
    assert len(answer["pitch_hz"]) == 1
    assert 0.01 + 0.05 + 0.015 <= n_samples / RATE <= 0.01 + 0.05 + 0.017
    for _ in range(20):
        answer = model.step(np.resize(sine(200), HOP), state)
        assert answer is not None
        assert len(answer["pitch_hz"]) == 1


def test_the_state_does_not_grow_and_is_freed(model: Pitch) -> None:
    state = model.open()
    for _ in range(50):
        model.step(noise(0.5), state)
        assert len(state.rest) < 667
        assert state.pitches_hz.shape[0] == 7
    gone = weakref.ref(state)
    gc.disable()
    try:
        del state
        assert gone() is None
    finally:
        gc.enable()


def test_silence_hours_long_does_not_wear_the_paths_out(model: Pitch) -> None:
    state = model.open()
    for _ in range(60):
        model.step(np.zeros(60 * RATE, np.float32), state)
    assert state.totals.min() == 0.0
    answer = model.step(voice(np.full(RATE, 150.0)), state)
    assert answer is not None
    assert answer["median_pitch_hz"] == pytest.approx(150, rel=0.002)
    assert answer["pitch_start_s"] == pytest.approx(3600, abs=0.1)


# What it hears


@pytest.mark.parametrize("hz", [62.0, 80.0, 117.3, 220.0, 333.0, 440.0, 495.0])
def test_pitch_of_known_waves(model: Pitch, hz: float) -> None:
    for wave in (sine(hz), voice(np.full(RATE, hz))):
        answer = model.infer(wave)
        inside = answer["pitch_hz"][5:-5]
        np.testing.assert_allclose(inside, hz, rtol=0.005)
        assert answer["median_pitch_hz"] == pytest.approx(hz, rel=0.002)
        assert min(answer["voicing"][5:-5]) > 0.95
        assert answer["voiced_ratio"] >= 0.95


@pytest.mark.parametrize(("start_hz", "end_hz"), [(80, 160), (400, 200), (100, 480)])
def test_sweeps_are_followed(model: Pitch, start_hz: float, end_hz: float) -> None:
    """Where YIN's window lies: its middle is some periods before that of the hop, so glides lag by milliseconds."""
    hz = np.geomspace(start_hz, end_hz, 2 * RATE)
    for wave in (voice(hz), (0.5 * np.sin(2 * np.pi * np.cumsum(hz) / RATE)).astype(np.float32)):
        heard = model.infer(wave)["pitch_hz"][5:-5]
        np.testing.assert_allclose(heard, hz[HOP // 2 :: HOP][5:-5], rtol=0.015)


@pytest.mark.parametrize(
    "audio",
    [noise(), np.zeros(RATE, np.float32), np.full(RATE, 0.5, np.float32), sine(150, amplitude=0.001)],
    ids=["noise", "silence", "constant", "below -60 dBFS"],
)
def test_no_pitch(model: Pitch, audio: np.ndarray) -> None:
    answer = model.infer(audio)
    assert answer["pitch_hz"][3:-3] == [None] * 94
    assert answer["median_pitch_hz"] is None
    assert answer["voiced_ratio"] < 0.05


def test_pauses_are_where_they_are(model: Pitch) -> None:
    quiet = np.zeros(RATE // 2, np.float32)
    heard = model.infer(np.concatenate([quiet, voice(np.full(RATE // 2, 130.0)), quiet]))["pitch_hz"]
    voiced = [n for n, hz in enumerate(heard) if hz is not None]
    assert voiced == list(range(voiced[0], voiced[-1] + 1))
    assert voiced[0] == pytest.approx(50, abs=2)
    assert voiced[-1] == pytest.approx(99, abs=2)


ROUGH = voice(np.full(RATE, 200.0))
"""A voice whose every other period is weaker for a while."""
ROUGH[8000:8960] *= (1 - 0.3 * (np.arange(960) // 80 % 2)).astype(np.float32)


def test_the_path_keeps_to_the_octave_where_single_frames_would_leap(
    model: Pitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.testing.assert_allclose(model.infer(ROUGH)["pitch_hz"][5:-5], 200, rtol=0.03)
    monkeypatch.setattr(pitch_ref, "JUMP", 0.0)
    assert 95 < pitch_ref.pitches(ROUGH)[0][5:-5].min() < 105


def test_speech_has_a_melody_in_the_range_of_its_voices(model: Pitch) -> None:
    audio, rate = read_audio(path("demo"))
    samples = resample(audio[0], rate, RATE)
    n_hops = math.ceil(len(samples) / HOP)
    hz = np.array([value or 0.0 for value in model.infer(samples)["pitch_hz"]])
    assert len(hz) == n_hops
    speaking = np.zeros(n_hops, bool)
    for utterance in truth("demo")[0]:
        first, last = round(100 * utterance.start_s), round(100 * utterance.end_s)
        speaking[first - 2 : last + 2] = True
        voiced = hz[first:last][hz[first:last] > 0]
        assert 0.3 < len(voiced) / (last - first) < 1.0
        assert 70 < voiced.min() < 90 < np.median(voiced) < 115 < voiced.max() < 140
        assert np.mean(np.abs(np.diff(np.log2(voiced))) > 0.4) < 0.05
    assert not np.any(hz[~speaking])


# The oracle


@pytest.mark.parametrize(
    ("audio", "options"),
    [
        (TALK, {}),
        (TALK[:1], {}),
        (TALK[:159], {}),
        (TALK[:160], {}),
        (TALK[:161], {}),
        (TALK[:1000], {}),
        (noise(0.3), {}),
        (ROUGH[6000:11000], {}),
        (sine(100, 0.3), {"lookahead_ms": 0}),
        (TALK[5000:12000], {"lookahead_ms": 20}),
        (TALK[5000:12000], {"lowest_hz": 90.0, "highest_hz": 400}),
    ],
)
def test_agrees_with_the_oracle(audio: np.ndarray, options: dict[str, Any]) -> None:
    answer = Pitch(**options).infer(audio)
    lookahead = options.pop("lookahead_ms", 50) // 10
    pitches, voicings = pitch_ref.pitches(audio, lookahead=lookahead, **options)
    np.testing.assert_allclose([hz or 0.0 for hz in answer["pitch_hz"]], pitches, rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(answer["voicing"], voicings, atol=2e-3)


# The contract


def test_without_audio_there_is_nothing_to_say(model: Pitch) -> None:
    assert model.infer(np.empty(0, np.float32)) == {
        "pitch_start_s": 0.0,
        "hop_s": 0.01,
        "pitch_hz": [],
        "voicing": [],
        "median_pitch_hz": None,
        "voiced_ratio": 0.0,
    }
    state = model.open()
    assert model.step(np.empty(0, np.float32), state) is None
    assert model.finish(state) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_no_numbers_count_as_zero(model: Pitch, bad: float) -> None:
    audio = sine(200)
    audio[[0, 777, -1]] = bad
    assert model.infer(audio) == model.infer(np.where(np.isfinite(audio), audio, np.float32(0)))
    assert not np.isfinite(audio[777])  # The input is left as it was.


@pytest.mark.parametrize("n_samples", [0, 1, 100, 20_000])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e18])
def test_every_number_is_finite_and_json(model: Pitch, n_samples: int, scale: float) -> None:
    rng = np.random.default_rng(2)
    for answer in in_calls(model, [(scale * rng.standard_normal(n_samples)).astype(np.float32)]):
        json.dumps(dict(answer), allow_nan=False)


@pytest.mark.parametrize(
    "make",
    [lambda x: np.repeat(x, 2)[::2], lambda x: np.frombuffer(x.tobytes(), np.float32), lambda x: x.astype(np.float64)],
    ids=["strided", "read-only", "float64"],
)
def test_other_arrays_are_taken_too(model: Pitch, make: Any) -> None:
    assert model.infer(make(sine(200))) == model.infer(sine(200))


def test_the_audio_may_be_used_again_after_a_call(model: Pitch) -> None:
    state = model.open()
    buffer = np.empty(500, np.float32)
    answers = []
    for piece in cut(TALK, [500] * (len(TALK) // 500)):
        buffer[: len(piece)] = piece
        answers.append(model.step(buffer[: len(piece)], state))
        buffer[:] = 1.0
    answers.append(model.finish(state))
    assert joined(answer for answer in answers if answer is not None) == joined([model.infer(TALK)])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lowest_hz": 39}, "lowest_hz must be within 40..400, not 39"),
        ({"highest_hz": 1001}, "highest_hz must be within 100..1000, not 1001"),
        ({"lookahead_ms": -1}, "lookahead_ms must be within 0..500, not -1"),
        ({"lookahead_ms": True}, "lookahead_ms must be a number of 0..500, not True"),
        ({"lowest_hz": "low"}, "lowest_hz must be a number of 40..400, not 'low'"),
        ({"lowest_hz": math.nan}, "lowest_hz must be within 40..400, not nan"),
        ({"lowest_hz": 200, "highest_hz": 300}, "highest_hz must be at least twice lowest_hz (200), not 300"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the text is compared below
        Pitch(**options)
    assert str(caught.value) == text


@pytest.mark.parametrize("options", [{"lowest_hz": 40}, {"highest_hz": 1000}, {"lowest_hz": 400, "highest_hz": 1000}])
def test_other_ranges(options: dict[str, Any]) -> None:
    model = Pitch(**options)
    for hz in (options.get("lowest_hz", 60) * 1.1, options.get("highest_hz", 500) * 0.9):
        assert model.infer(voice(np.full(RATE, hz)))["median_pitch_hz"] == pytest.approx(hz, rel=0.005)


def test_many_threads_share_one_model(model: Pitch) -> None:
    audios = [voice(np.full(RATE // 2, 80.0 + 30 * i)) for i in range(8)]
    expected = [model.infer(audio) for audio in audios]
    answers: dict[int, list[Any]] = {}
    barrier = threading.Barrier(len(audios))

    def work(i: int) -> None:
        barrier.wait()
        answers[i] = [joined(in_calls(model, cut(audios[i], [1000] * 7))) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(audios))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [joined([expected[i]])] * 10 for i in range(len(audios))}


def test_the_kernels_release_the_gil_and_are_compiled_already() -> None:
    for kernel in (pitch._find_candidates, pitch._extend_paths, pitch._decide, pitch._track, pitch._decide_rest):
        assert kernel.targetoptions["nogil"]  # type: ignore[attr-defined]
        assert len(kernel.nopython_signatures) == 1  # type: ignore[attr-defined]
