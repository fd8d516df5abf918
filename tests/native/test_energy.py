import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from reference import energy_ref
from voxgate import recordings
from voxgate._native.energy import EnergyDetector

RATES = [4000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]
RATE = 16000


def white(n, level_db=-40.0, seed=0):
    return (np.random.default_rng(seed).standard_normal(n) * 10 ** (level_db / 20)).astype(np.float32)


@cache
def pink(n, seed=0):
    """Pink noise of level 0 dB down to 20 Hz (at 16 kHz)."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / RATE)
    audio = np.fft.irfft(np.where(frequency < 20, 0, spectrum / np.sqrt(np.maximum(frequency, 20))), n)
    return audio / audio.std()


def detect(samples, sample_rate=RATE):
    return EnergyDetector(1, sample_rate).probabilities(np.atleast_2d(samples).astype(np.float32))[0]


def bursts(sample_rate, seconds=8.0):
    """Something like speech: bursts of a buzz at four a second, a second of pause after every two, over noise."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 10))
    envelope = np.clip(np.sin(2 * np.pi * 4 * t), 0, None) * (t % 3 < 2)
    return (0.1 * buzz * envelope + white(len(t), -55) + 0.02).astype(np.float32)


@pytest.mark.parametrize("sample_rate", RATES)
def test_equals_the_oracle(sample_rate):
    audio = bursts(sample_rate, 2.0 if sample_rate > 48000 else 8.0)
    audio[sample_rate // 2 : sample_rate] = 0  # digital silence
    got = detect(audio, sample_rate)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, energy_ref.probabilities(audio, sample_rate), atol=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_oracle_on_random_levels(seed):
    """Levels that jump by tens of dB and stay for odd times: every branch, every block boundary."""
    rng = np.random.default_rng(seed)
    gains = np.concatenate([np.full(rng.integers(1, 60), 10 ** (rng.uniform(-100, 0) / 20)) for _ in range(60)])
    audio = white(len(gains) * 320, 0, seed) * np.repeat(gains, 320)
    np.testing.assert_allclose(detect(audio), energy_ref.probabilities(audio, RATE), atol=2e-4)


@pytest.mark.parametrize("sample_rate", RATES)
def test_frames_are_20_ms(sample_rate):
    detector = EnergyDetector(2, sample_rate)
    assert (detector.channels, detector.sample_rate, detector.frame_samples) == (2, sample_rate, sample_rate // 50)
    for n_samples, n_frames in [(0, 0), (-1, 0), (0, 1), (1, 1), (-1, 1)]:
        n_samples += detector.frame_samples * (n_frames if n_samples >= 0 else n_frames + 1)
        assert detector.probabilities(np.zeros((2, n_samples), np.float32)).shape == (2, n_frames)


@given(st.lists(st.integers(0, 9), max_size=30))
def test_chunking_is_invisible(lengths):
    audio = bursts(4000)[: sum(lengths) * 80]
    detector, pieces, start = EnergyDetector(1, 4000), [np.empty((1, 0), np.float32)], 0
    for length in lengths:
        pieces.append(detector.probabilities(audio[None, start : start + length * 80]))
        start += length * 80
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1)[0], detect(audio, 4000))


def test_channels_do_not_meet():
    planes = np.stack([bursts(RATE), white(8 * RATE), np.zeros(8 * RATE, np.float32), bursts(RATE)[::-1]])
    together = EnergyDetector(4).probabilities(planes)
    for channel in range(4):
        np.testing.assert_array_equal(together[channel], detect(planes[channel]))


def test_reset_is_as_new():
    detector, audio = EnergyDetector(2), np.stack([bursts(RATE), white(8 * RATE, -20)])
    first = detector.probabilities(audio)
    assert not np.array_equal(detector.probabilities(audio), first)
    detector.reset()
    assert detector.floor_db == EnergyDetector(2).floor_db
    np.testing.assert_array_equal(detector.probabilities(audio), first)


# -- what it takes for speech ----------------------------------------------------------------------------------------


@cache
def clean_speech():
    """The bundled recording; which of its frames are loud speech (within 20 dB of the loudest), which far from any."""
    audio, sample_rate = soundfile.read(recordings.path("demo"), dtype="float32")
    assert sample_rate == RATE
    level = energy_ref.levels_db(audio, 320)
    time_s = (np.arange(len(level)) + 0.5) * 0.02
    away = np.ones(len(level), bool)
    for utterance in recordings.truth("demo")[0]:
        away &= (time_s < utterance.start_s - 0.05) | (time_s > utterance.end_s + 0.15)
    return audio, level > level.max() - 20, away


def speech_db():
    """Level of the loud speech."""
    audio, loud, _ = clean_speech()
    return 10 * np.log10(np.mean(audio[: len(loud) * 320].reshape(-1, 320)[loud] ** 2))


@pytest.mark.parametrize("snr_db", [30, 20, 15, 10])
@pytest.mark.parametrize("level_db", [0, -25])
@pytest.mark.parametrize("seed", range(3))
def test_speech_in_pink_noise(snr_db, level_db, seed):
    """What stands out of the noise is found, whatever share of the speech that is; the noise alone is not."""
    audio, loud, away = clean_speech()
    frames = energy_ref.levels_db(audio, 320)
    noise_db = speech_db() - snr_db
    probabilities = detect((audio + pink(len(audio), seed) * 10 ** (noise_db / 20)) * 10 ** (level_db / 20))
    assert np.mean(probabilities[loud & (frames > noise_db + 6)] >= 0.5) >= 0.9
    assert np.mean(probabilities[loud & (frames > noise_db + 9)] >= 0.5) >= 0.97
    settled = away & (np.arange(len(away)) >= 15)  # 0.3 s: the floor is still rising to loud noise before
    assert settled.sum() > 80
    assert np.mean(probabilities[settled] >= 0.35) <= 0.01


def spans(probabilities, threshold=0.5, negative_threshold=0.35):
    """(start_s, end_s) of speech as the endpointer would see it: 80 ms to begin, 600 ms of quiet to end."""
    found, start, last = [], None, 0
    for frame, probability in enumerate(probabilities):
        if start is None:
            start = frame if probability >= threshold else None
        elif probability < negative_threshold and frame - start < 4:
            start = None
        if start is not None and probability >= threshold:
            last = frame + 1
        if start is not None and frame + 1 - last >= 30:
            found.append((start * 0.02, last * 0.02))
            start = None
    return [*found, (start * 0.02, last * 0.02)] if start is not None else found


@pytest.mark.parametrize("snr_db", [40, 20, 15, 10])
@pytest.mark.parametrize("seed", range(5))
def test_utterances_in_pink_noise(snr_db, seed):
    """Every utterance is found, none is made up, and both ends are near the truth."""
    audio = clean_speech()[0]
    found = spans(detect(audio + pink(len(audio), seed) * 10 ** ((speech_db() - snr_db) / 20)))
    found = [span for span in found if span[0] > 0.1]  # at the very start loud noise is still unknown
    truth = recordings.truth("demo")[0]
    assert len(found) == len(truth)
    for (start_s, end_s), utterance in zip(found, truth, strict=True):
        assert abs(start_s - utterance.start_s) < 0.15
        assert abs(end_s - utterance.end_s) < 0.3


def test_speech_without_noise():
    audio, loud, away = clean_speech()
    probabilities = detect(audio)
    assert np.mean(probabilities[loud] >= 0.5) >= 0.99
    assert np.mean(probabilities[away] >= 0.35) <= 0.01


def test_long_speech_is_not_taken_for_noise():
    """Two minutes without a pause between sentences: the last seconds are found like the first."""
    audio, _, _ = clean_speech()
    utterances = [audio[round(u.start_s * RATE) : round(u.end_s * RATE)] for u in recordings.truth("demo")[0]]
    once = np.concatenate(utterances)
    n_frames = len(once) // 320
    long = np.tile(once[: n_frames * 320], 120 * 50 // n_frames + 1)
    level = energy_ref.levels_db(once, 320)[:n_frames]
    probabilities = detect(long + white(len(long), -60)).reshape(-1, n_frames)[:, level > level.max() - 20]
    assert (probabilities >= 0.5).mean(axis=1).min() >= 0.97


@pytest.mark.parametrize("level_db", [-65, -50, -35, -20, -3])
@pytest.mark.parametrize("colour", ["white", "pink"])
def test_stationary_noise_is_not_speech(level_db, colour):
    audio = white(60 * RATE, level_db) if colour == "white" else pink(60 * RATE) * 10 ** (level_db / 20)
    probabilities = detect(audio)
    assert probabilities[50:].max() < 0.35  # 1 s: from the highest start of the floor up to the loudest noise


def test_sudden_noise_is_learned():
    audio = np.concatenate([white(5 * RATE, -60), white(15 * RATE, -25)])
    probabilities = detect(audio)
    assert probabilities[50:250].max() < 0.35
    assert probabilities[252:350].min() > 0.9  # it might be speech, for longer than the window of the minimum
    assert probabilities[250 + 185 :].max() < 0.35  # but not for ever: 2.7 s of window, 35 dB at 40 dB/s


def test_noise_that_ends_is_forgotten_at_once():
    audio = np.concatenate([white(20 * RATE, -25), white(RATE, -60)])
    detector = EnergyDetector()
    detector.probabilities(audio[None, : 20 * RATE])
    assert -27 < detector.floor_db[0] < -23
    assert detector.probabilities(audio[None, 20 * RATE :])[0].max() < 0.35
    assert -62 < detector.floor_db[0] < -58


@pytest.mark.parametrize("db_per_s", [1, -1, 0.5, 5])
def test_slowly_changing_noise_is_not_speech(db_per_s):
    seconds = min(50 / abs(db_per_s), 60) if abs(db_per_s) < 5 else 6
    t = np.arange(round(seconds * RATE)) / RATE
    start_db = -60 if db_per_s > 0 else -45
    audio = white(len(t), start_db) * 10 ** (db_per_s * t / 20)
    # 5 dB/s is faster than a window of 2.4 s allows.
    assert (detect(audio).max() < 0.5) == (db_per_s <= 1)


@pytest.mark.parametrize("silence", [np.zeros(30 * RATE), np.full(30 * RATE, 0.25), white(30 * RATE, -95)])
def test_digital_silence_teaches_nothing(silence):
    """A muted microphone: the room is known again when it comes back."""
    room, detector = white(10 * RATE, -45), EnergyDetector()
    detector.probabilities(room[None])
    before = detector.floor_db
    assert detector.probabilities(silence[None])[0].max() == 0
    assert detector.floor_db == before
    assert detector.probabilities(room[None])[0].max() < 0.35
    assert detector.probabilities(white(RATE, -25)[None])[0][1:].min() > 0.9


def test_speech_at_once_from_the_first_frame():
    audio, _, _ = clean_speech()
    first = recordings.truth("demo")[0][0]
    spoken = audio[round(first.start_s * RATE) :][:RATE]
    level = energy_ref.levels_db(spoken, 320)
    assert np.mean(detect(spoken)[level > level.max() - 12] >= 0.5) > 0.95


def test_probability_rises_with_the_level():
    """The same noise floor, then one frame of every level: smooth and monotonic, from near 0 to near 1."""
    levels = np.arange(-60, -20, 0.25)
    probabilities = []
    for level_db in levels:
        detector = EnergyDetector()
        detector.probabilities(white(4 * RATE, -50)[None])
        probabilities.append(detector.probabilities(white(20 * 320, level_db)[None])[0, -1])
    steps = np.diff(probabilities)
    assert probabilities[0] < 0.01
    assert probabilities[-1] > 0.99
    assert steps.min() > -1e-6
    assert steps.max() < 0.06
    assert 4 < levels[np.searchsorted(probabilities, 0.5)] + 50 < 8


def test_nothing_drifts_in_hours():
    """Three hours of noise: not one frame of speech, and then the floor is where it was and speech is found."""
    detector, hour = EnergyDetector(1, 4000), white(60 * 60 * 4000, -50)[None]
    floors = []
    for _ in range(3):
        assert detector.probabilities(hour)[0, 100:].max() < 0.5
        floors += detector.floor_db
    assert np.ptp(floors) < 0.5
    assert detector.probabilities(white(4000, -30)[None])[0, 1:].min() > 0.9


def test_offset_is_no_sound():
    audio = white(20 * RATE, -50)
    np.testing.assert_allclose(detect(audio + np.float32(0.5)), detect(audio), atol=2e-3)


@given(st.lists(st.floats(width=32), min_size=0, max_size=40), st.integers(0, 79))
def test_any_float_gives_a_probability(values, where):
    audio = white(80 * 50, -50)
    for frame, value in enumerate(values):
        audio[frame * 80 + where] = value
    probabilities = detect(audio, 4000)
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, np.float32(3.4e38)])
@pytest.mark.parametrize("where", [0, 15, 16, 319])
def test_a_broken_frame_changes_nothing(value, where):
    audio = bursts(RATE)
    broken = np.insert(audio, 50 * 320, white(320))
    broken[50 * 320 + where] = value
    expected = detect(audio)
    got = detect(broken)
    assert got[50] == 0
    np.testing.assert_array_equal(np.delete(got, 50), expected)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [0, -1, 257])
def test_channels_out_of_range(channels):
    with pytest.raises(ValueError, match=rf"channels must be 1\.\.256, got {channels}"):
        EnergyDetector(channels)


@pytest.mark.parametrize("sample_rate", [3999, 192001, 0, -16000])
def test_rate_out_of_range(sample_rate):
    with pytest.raises(ValueError, match=rf"sample_rate must be 4000\.\.192000 Hz, got {sample_rate}"):
        EnergyDetector(1, sample_rate)


@pytest.mark.parametrize("arguments", [(1.0,), ("1",), (None,), (1, 16000.0), (1, None)])
def test_arguments_of_a_wrong_type(arguments):
    with pytest.raises(TypeError):
        EnergyDetector(*arguments)


@pytest.mark.parametrize("shape", [(320,), (1, 320), (3, 320), (2, 320, 1), ()])
def test_planes_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"planes must have shape \(2, samples\), got \("):
        EnergyDetector(2).probabilities(np.zeros(shape, np.float32))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_belongs_to_one_stream(duplicate):
    with pytest.raises(TypeError, match="one stream"):
        duplicate(EnergyDetector())


def test_threads_do_not_meet():
    def run(seed):
        return EnergyDetector(2).probabilities(np.stack([bursts(RATE), white(8 * RATE, -30, seed)]))

    serial = [run(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(run, range(8)), serial, strict=True):
            np.testing.assert_array_equal(got, expected)
