"""Intake: what decoder, resampler and session do one after the other, in one call."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxgate._native.energy import EnergyDetector
from voxgate._native.event import VadEvent
from voxgate._native.intake import DECLINED, TAKEN, WAITING, Intake, PcmIntake, RingIntake
from voxgate._native.pcm import PcmDecoder, sample_bytes
from voxgate._native.resample import Resampler
from voxgate._native.ring import SampleRing
from voxgate._native.session import VadSession
from voxgate._native.session_batch import step_sessions
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.recordings import path
from voxgate.vad.config import VadConfig

RATE = 16_000
CONFIG = VadConfig(silence_duration_ms=100, min_speech_ms=30).to_endpoint(EnergyDetector(1).frame_samples, RATE)
VOICE, VOICE_RATE = read_audio(path("demo"))


def parts(encoding: str, channels: int, rate: int) -> tuple[PcmDecoder, Resampler | None, VadSession]:
    resampler = None if rate == RATE else Resampler(rate, RATE, channels)
    return PcmDecoder(encoding, channels), resampler, VadSession(EnergyDetector(channels), CONFIG)


def wire(encoding: str, channels: int, rate: int) -> bytes:
    voice = resample(VOICE[0, : 2 * VOICE_RATE], VOICE_RATE, rate)
    frames = np.stack([np.roll(voice, 999 * channel) for channel in range(channels)], axis=1)
    if encoding == "f32":
        return frames.astype("<f4").tobytes()
    if encoding == "s16":
        return np.round(frames * 32_000).astype("<i2").tobytes()
    return np.round(frames * 120 + 128).astype(np.uint8).tobytes()


def plain(events: list[VadEvent]) -> list[object]:
    return [(e.kind, e.channel, e.start_pos, e.end_pos, None if e.audio is None else e.audio.tobytes()) for e in events]


def by_hand(decoder: PcmDecoder, resampler: Resampler | None, session: VadSession, data: bytes) -> list[VadEvent]:
    planes = decoder.push(data)
    return session.feed(planes if resampler is None else resampler.push(planes))


@given(
    encoding=st.sampled_from(["s16", "f32", "u8"]),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8000, 16_000, 44_100, 48_000]),
    seed=st.integers(0, 1 << 32),
)
@settings(max_examples=25, deadline=None)
def test_as_by_hand(encoding, channels, rate, seed):
    """Cut anywhere, also within a sample; some pieces by hand, as who is declined does: the same events and state."""
    data = wire(encoding, channels, rate)
    decoder, resampler, session = parts(encoding, channels, rate)
    intake = Intake(decoder, resampler, session)
    intake.due_frames = 1 << 60
    rng = np.random.default_rng(seed)
    events, pos = [], 0
    while pos < len(data):
        piece = data[pos : pos + int(rng.choice([0, 1, 3, 640, 1921, 4000, 200_000]))]
        pos += len(piece)
        taken = DECLINED if rng.random() < 0.1 else intake.take(piece)
        if taken == DECLINED:
            events += by_hand(decoder, resampler, session, piece)
        for _, found in step_sessions([session]) if taken == WAITING else []:
            assert isinstance(found, list)
            events += found
    expected_parts = parts(encoding, channels, rate)
    expected = by_hand(*expected_parts, data)
    assert plain(events) == plain(expected)
    assert expected
    assert decoder.received_frames == expected_parts[0].received_frames == len(data) // decoder.frame_bytes
    assert session.received_pos == expected_parts[2].received_pos
    assert plain(session.finish()) == plain(expected_parts[2].finish())


def test_declines_what_is_due_too_much_or_no_bytes():
    decoder, _, session = parts("s16", 1, RATE)
    intake = Intake(decoder, None, session)
    assert intake.take(bytes(640)) == DECLINED  # due from the start
    intake.due_frames = 320
    assert intake.take(bytes(640)) == TAKEN
    assert intake.take(bytes(640)) == DECLINED
    intake.due_frames = 1 << 60
    assert intake.take(bytearray(640)) == DECLINED
    assert intake.take(memoryview(bytes(640))) == DECLINED
    assert intake.take("audio") == DECLINED
    assert intake.take(bytes(2 * 10_241)) == DECLINED
    assert decoder.received_frames == session.received_pos == 320
    assert intake.take(bytes(2 * 10_240)) in (TAKEN, WAITING)
    assert decoder.received_frames == session.received_pos == 320 + 10_240


def test_declines_what_resampling_makes_too_much_of():
    decoder, resampler, session = parts("u8", 2, 4000)
    intake = Intake(decoder, resampler, session)
    intake.due_frames = 1 << 60
    assert intake.take(bytes(2 * 1500)) == DECLINED
    assert (decoder.received_frames, session.received_pos) == (0, 0)
    assert intake.take(bytes(2 * 1000)) in (TAKEN, WAITING)
    assert decoder.received_frames == 1000


def test_events_of_a_session_that_hears_at_once_wait():
    decoder, _, session = parts("f32", 1, RATE)
    intake = Intake(decoder, None, session)
    intake.due_frames = 1 << 60
    assert intake.take(bytes(4 * 4000)) == TAKEN
    loud = resample(VOICE[0, : 2 * VOICE_RATE], VOICE_RATE, RATE).astype("<f4").tobytes()
    for begin in range(0, len(loud), 16_000):
        taken = intake.take(loud[begin : begin + 16_000])
        if taken == WAITING:
            break
    assert taken == WAITING
    ((found, events),) = step_sessions([session])
    assert found is session
    assert events


def test_a_session_that_takes_no_more():
    decoder, _, session = parts("s16", 1, RATE)
    intake = Intake(decoder, None, session)
    intake.due_frames = 1 << 60
    session.finish()
    with pytest.raises(RuntimeError, match="after finish"):
        intake.take(bytes(640))


def test_parts_must_fit():
    with pytest.raises(ValueError, match="as many channels, got 2, None and 1"):
        Intake(PcmDecoder("s16", 2), None, parts("s16", 1, RATE)[2])
    with pytest.raises(ValueError, match="as many channels, got 1, 2 and 1"):
        Intake(PcmDecoder("s16", 1), Resampler(8000, RATE, 2), parts("s16", 1, RATE)[2])
    with pytest.raises(TypeError):
        Intake(PcmDecoder("s16", 1), None, None)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Intake(*parts("s16", 1, RATE)))


def test_received_frames_begin_anew_after_the_end():
    decoder = PcmDecoder("s16", 2)
    decoder.push(bytes(4 * 10 + 3))
    assert decoder.received_frames == 10
    decoder.finish()
    assert decoder.received_frames == 11  # the partial one is one
    decoder.push(b"")
    assert decoder.received_frames == 0
    decoder.push(bytes(4))
    decoder.reset()
    assert decoder.received_frames == 0
    assert sample_bytes("s16") == 2


# Into rings


@given(
    encoding=st.sampled_from(["s16", "f32", "u8"]),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8000, 16_000, 48_000]),
    sizes=st.lists(st.integers(0, 4000), max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_rings_get_what_they_get_by_hand(encoding, channels, rate, sizes):
    decoder, resampler, _ = parts(encoding, channels, rate)
    other, other_resampler, _ = parts(encoding, channels, rate)
    rings = [SampleRing(1 << 20) for _ in range(channels)]
    intake = RingIntake(decoder, resampler, rings, 1600)
    intake.due_frames = 1 << 60
    audio, pos = wire(encoding, channels, rate), 0
    expected = [np.zeros((channels, 0), np.float32)]
    for size in sizes:
        data = audio[pos : pos + size]
        pos += size
        taken = intake.take(data)
        planes = other.push(data)
        expected.append(planes if other_resampler is None else other_resampler.push(planes))
        assert taken == (WAITING if len(rings[0]) >= 1600 else TAKEN)
        if len(rings[0]) > 5000:
            for ring in rings:
                ring.discard_before(ring.end_pos - 100)
    together = np.concatenate(expected, axis=1)
    for ring, plane in zip(rings, together, strict=True):
        assert ring.end_pos == len(plane)
        assert ring.read(ring.start_pos, ring.end_pos).tobytes() == plane[ring.start_pos :].tobytes()


def test_rings_must_fit():
    with pytest.raises(ValueError, match="decoder, resampler and rings must have as many channels, got 2, None and 1"):
        RingIntake(PcmDecoder("s16", 2), None, [SampleRing(10)], 1)
    with pytest.raises(TypeError, match="rings must be SampleRing, got list"):
        RingIntake(PcmDecoder("s16", 1), None, [[]], 1)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(RingIntake(PcmDecoder("s16", 1), None, [SampleRing(10)], 1))


def test_the_base_has_a_decoder_and_nowhere_to_put_samples():
    with pytest.raises(TypeError, match="positional argument"):
        PcmIntake()
    with pytest.raises(TypeError, match="decoder"):
        PcmIntake(None, None)  # type: ignore[arg-type]
    intake = PcmIntake(PcmDecoder("s16", 1), None)
    intake.due_frames = 1 << 60
    with pytest.raises(AssertionError, match="an intake must define _store"):
        intake.take(bytes(2))


def test_each_channel_has_a_ring_of_its_own():
    ring = SampleRing(10)
    with pytest.raises(ValueError, match="got one twice"):
        RingIntake(PcmDecoder("s16", 2), None, [ring, ring], 1)


def test_a_full_ring_is_an_error():
    intake = RingIntake(PcmDecoder("s16", 1), None, [SampleRing(10)], 1)
    intake.due_frames = 1 << 60
    with pytest.raises(BufferError, match="ring is full"):
        intake.take(bytes(22))
