"""`take` and `hear`: many sessions listened to together have the events that each has alone, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxgate import vad
from voxgate._native.detector import CallableDetector
from voxgate._native.endpoint import EndpointConfig
from voxgate._native.event import VadEvent
from voxgate._native.isa import supported
from voxgate._native.session import VadSession
from voxgate._native.session_batch import step_sessions
from voxgate._native.silero import SileroDetector, SileroNetwork
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import resample
from voxgate.recordings import path
from voxgate.vad.weights import default_path, load_weights

RATE, FRAME = 16_000, 512
WEIGHTS = load_weights(default_path())
NETWORK = SileroNetwork(WEIGHTS)
RULES = vad.VadConfig(silence_duration_ms=100, prefix_padding_ms=100, min_speech_ms=30, interim_interval_ms=200)
CONFIG = RULES.to_endpoint(FRAME, RATE, interims=True)
VOICE = resample(read_audio(path("demo"))[0][0], read_audio(path("demo"))[1], RATE)[: 4 * RATE]


def a_session(channels: int = 1, network: SileroNetwork = NETWORK) -> VadSession:
    return VadSession(SileroDetector(network, channels), CONFIG)


def talk(channels: int, seed: int) -> np.ndarray:
    """Speech that begins elsewhere in each channel."""
    rng = np.random.default_rng(seed)
    return np.stack([np.roll(VOICE, rng.integers(len(VOICE))) * rng.uniform(0.3, 1) for _ in range(channels)])


def plain(events: list[VadEvent]) -> list[Any]:
    return [(e.kind, e.channel, e.start_pos, e.end_pos, None if e.audio is None else e.audio.tobytes()) for e in events]


def outcomes(found: list[tuple[VadSession, Any]], of: dict[VadSession, list[Any]]) -> None:
    for session, events in found:
        assert isinstance(events, list), events
        of[session] += plain(events)


@given(seed=st.integers(0, 1 << 32), channels=st.lists(st.integers(1, 5), min_size=1, max_size=24))
@settings(max_examples=12, deadline=None)
def test_together_is_as_alone(seed, channels):
    """Pieces of any length, heard now and then: more than 64 channels, sessions with several frames waiting or none."""
    rng = np.random.default_rng(seed)
    audio = [talk(n, seed + k) for k, n in enumerate(channels)]
    sessions = [a_session(n) for n in channels]
    heard: dict[VadSession, list[Any]] = {session: [] for session in sessions}
    done = [0] * len(sessions)
    while min(done) < len(VOICE):
        waiting = []
        for k, session in enumerate(sessions):
            if rng.random() < 0.8:
                n = int(rng.choice([1, 100, 320, 512, 1600, 4000, 9000]))
                if session.take(audio[k][:, done[k] : done[k] + n]):
                    waiting.append(session)
                done[k] += n
        if rng.random() < 0.7:
            outcomes(step_sessions(waiting), heard)
    outcomes(step_sessions(sessions), heard)
    for k, session in enumerate(sessions):
        alone = a_session(channels[k])
        assert heard[session] + plain(session.finish()) == plain(alone.feed(audio[k])) + plain(alone.finish())
        assert session.received_pos == len(VOICE)


@pytest.mark.parametrize("how", ["feed", "flush", "finish"])
def test_what_waits_is_heard_by_whatever_comes_next(how):
    audio = talk(2, 0)
    together, alone = a_session(2), a_session(2)
    events, expected = [], []
    for begin in range(0, len(VOICE), 1600):
        piece = audio[:, begin : begin + 1600]
        expected += alone.feed(piece)
        assert together.take(piece)
        more = np.empty((2, 0), np.float32)
        events += together.feed(more) if how == "feed" else []
        if how == "flush":
            events += together.flush()
            expected += alone.flush()
        if how == "finish":
            events += together.finish()
            expected += alone.finish()
            assert step_sessions([together]) == []
            break
    assert plain(events) == plain(expected)
    assert events or how == "finish"


def test_until_then_nothing_is_known_of_it():
    session = a_session()
    session.feed(talk(1, 3)[:, :FRAME])
    before = session.last_probability(0)
    assert session.take(talk(1, 3)[:, FRAME : 2 * FRAME])
    assert session.last_probability(0) == before
    assert step_sessions([session]) == []
    assert session.last_probability(0) != before


def test_a_part_of_a_frame_is_nothing_to_hear():
    session = a_session()
    assert not session.take(np.zeros((1, FRAME - 1), np.float32))
    assert session.take(np.zeros((1, 1), np.float32))
    assert step_sessions([session]) == []
    assert not session.take(np.zeros((1, 1), np.float32))


def test_so_much_that_it_does_not_wait():
    """Eight frames may wait. With the ninth, all are looked at at once, and their events wait."""
    session, alone = a_session(), a_session()
    audio = talk(1, 1)
    assert session.take(audio[:, : 8 * FRAME])
    assert session.last_probability(0) == 0.0
    assert session.take(audio[:, 8 * FRAME : 60 * FRAME])
    expected = plain(alone.feed(audio[:, : 60 * FRAME]))
    assert session.last_probability(0) == alone.last_probability(0)
    ((found, events),) = step_sessions([session])
    assert found is session
    assert plain(events) == expected
    assert expected


def test_what_waits_has_room_in_the_longest_segment():
    """No frame is lost, and none refused, though the ring is full to its last sample when the segment is cut."""
    rules = EndpointConfig(
        FRAME, prefix_samples=0, suffix_samples=0, silence_samples=30_000, min_speech_samples=0,
        max_segment_samples=16_000, threshold=0.0, negative_threshold=0.0,
    )  # fmt: skip
    session = VadSession(SileroDetector(NETWORK, 1), rules)
    audio = talk(1, 2)
    for begin in range(0, len(VOICE), 8 * FRAME):
        session.take(audio[:, begin : begin + 8 * FRAME])
    alone = VadSession(SileroDetector(NETWORK, 1), rules)
    expected = plain(alone.feed(audio))
    ((_, events),) = step_sessions([session])
    assert plain(events) == expected


def test_networks_are_not_mixed():
    kinds = [SileroNetwork(WEIGHTS, isa=isa) for isa in supported()]
    sessions = [a_session(1, kinds[k % len(kinds)]) for k in range(7)]
    alone = [a_session(1, kinds[k % len(kinds)]) for k in range(7)]
    audio = talk(1, 5)
    for begin in range(0, len(VOICE), FRAME):
        for session in sessions:
            session.take(audio[:, begin : begin + FRAME])
        step_sessions(sessions)
        for session in alone:
            session.feed(audio[:, begin : begin + FRAME])
        assert [s.last_probability(0) for s in sessions] == [s.last_probability(0) for s in alone]


class Loud:
    def probability(self, frame: np.ndarray) -> float:
        return 1.0


def test_other_detectors_hear_at_once():
    session = VadSession(CallableDetector(Loud, 1, FRAME, RATE), CONFIG)
    assert not session.take(np.zeros((1, FRAME - 1), np.float32))
    assert session.take(np.zeros((1, 2 * FRAME), np.float32))
    assert session.last_probability(0) == 1.0
    ((_, events),) = step_sessions([session])
    assert len(events) == 1


def test_more_channels_than_go_together_hear_at_once():
    session = a_session(65)
    session.take(talk(65, 0)[:, :FRAME])
    assert session.last_probability(64) > 0.0


class Nosy:
    """A detector that asks for what its own session is just doing."""

    session: VadSession

    def probability(self, frame: np.ndarray) -> float:
        step_sessions([Nosy.other, Nosy.session])
        return 0.0

    other: VadSession


def test_a_session_in_use_is_refused_and_the_others_are_as_before():
    Nosy.other = a_session()
    Nosy.other.take(talk(1, 0)[:, :FRAME])
    Nosy.session = VadSession(CallableDetector(Nosy, 1, FRAME, RATE), CONFIG)
    with pytest.raises(RuntimeError, match="in use"):
        Nosy.session.feed(np.zeros((1, FRAME), np.float32))
    assert Nosy.other.last_probability(0) == 0.0
    assert step_sessions([Nosy.other]) == []
    assert Nosy.other.last_probability(0) > 0.0


@pytest.mark.parametrize("wrong", [None, 3, (), [None], [object()]])
def test_hear_wants_sessions(wrong):
    with pytest.raises(TypeError):
        step_sessions(wrong)


def test_nothing_to_hear():
    assert step_sessions([]) == []
    assert step_sessions([a_session()]) == []


@pytest.mark.parametrize(
    ("planes", "error"),
    [
        (np.zeros((2, 10), np.float32), ValueError),
        (np.zeros(10, np.float32), ValueError),
        (np.zeros((1, 10)), TypeError),
        (b"abcd", TypeError),
    ],
)
def test_wrong_planes(planes, error):
    session = a_session()
    with pytest.raises(error, match="planes must"):
        session.take(planes)
    assert session.received_pos == 0


def test_after_the_end():
    session = a_session()
    session.finish()
    with pytest.raises(RuntimeError, match="after finish"):
        session.take(np.zeros((1, 10), np.float32))
    session.reset()
    session.take(np.zeros((1, FRAME), np.float32))
    session.reset()  # what waited is gone
    assert step_sessions([session]) == []
    assert session.last_probability(0) == 0.0


SMALL_STACK = """
import mmap, threading
import numpy as np
from native.test_session_batch import a_session
from voxgate._native.session_batch import step_sessions

session, started = a_session(), threading.Event()
assert session.take(np.zeros((1, 512), np.float32))
threading.stack_size(192 * 1024)
thread = threading.Thread(target=lambda: (started.wait(), step_sessions([session])))
thread.start()
neighbours = [mmap.mmap(-1, 1 << 20) for _ in range(4)]  # the kernel puts them below the stack
for memory in neighbours:
    memory[:] = b"x" * len(memory)
started.set()
thread.join()
assert all(memory[:] == b"x" * len(memory) for memory in neighbours)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="where a mapping lies is up to the system")
def test_a_small_stack_is_enough():
    subprocess.run([sys.executable, "-c", SMALL_STACK], check=True, timeout=60, cwd=Path(__file__).parents[1])
