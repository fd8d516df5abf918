"""VadSession: the blackboard's events with the input's own samples, however it is fed, flushed, finished and reset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fuzz.source import Source
from helpers.endpoint_kinds import KINDS
from reference import endpoint_ref as ref
from voxgate._native.detector import CallableDetector, Detector
from voxgate._native.endpoint import INTERIM, EndpointConfig
from voxgate._native.energy import EnergyDetector
from voxgate._native.event import VadEvent
from voxgate._native.session import VadSession

MAX_SAMPLES = 20_000


class FirstSample:
    """The audio is a script: the probability of a frame is the size of its first sample; 0.9 makes it fail."""

    def probability(self, frame: NDArray[np.float32]) -> float:
        if frame[0] == np.float32(0.9):
            raise ZeroDivisionError("a detector that fails")
        return abs(float(frame[0]))


def plain(events: list[VadEvent]) -> list[tuple[str, int, int, int, bytes | None]]:
    return [
        (KINDS[e.kind], e.channel, e.start_pos, e.end_pos, None if e.audio is None else e.audio.tobytes())
        for e in events
    ]


def script(source: Source, channels: int, frame: int, offset: int, n: int) -> NDArray[np.float32]:
    planes = np.random.default_rng(offset).uniform(-1, 1, (channels, n)).astype(np.float32)
    for channel in range(channels):
        firsts = planes[channel, -offset % frame :: frame]
        firsts[:] = [source.integer(0, 8) / 8 for _ in firsts]
    return planes


def settings_of(source: Source, frame: int) -> dict[str, int]:
    names = ("prefix_samples", "suffix_samples", "silence_samples", "min_speech_samples", "interim_samples")
    return {name: source.size(12 * frame) for name in names} | {"max_segment_samples": 1 + source.size(40 * frame)}


def scripted(source: Source) -> None:
    frame, channels = 1 + source.size(40), source.integer(1, 3)
    low, high = sorted((source.integer(0, 4) / 4, source.integer(0, 4) / 4))
    settings = settings_of(source, frame)
    rules = ref.Rules(frame, high, low, **settings)
    config = EndpointConfig(frame, high, low, **settings)
    session = VadSession(CallableDetector(FirstSample, channels, frame, 16_000), config)
    oracle = ref.Session(channels, rules, lambda channel, samples: abs(float(samples[0])))
    heard = np.zeros((channels, 0), np.float32)
    n_steps = 0
    while source.left and (n_steps := n_steps + 1) < 40:  # the blackboard replays everything at every step
        what = source.integer(0, 15)
        if what == 0:
            events, expected = session.flush(), oracle.flush()
        elif what == 1:
            session.reset()
            oracle = ref.Session(channels, rules, lambda channel, samples: abs(float(samples[0])))
            heard = heard[:, :0]
            continue
        elif what == 2:
            break
        else:
            n = source.size(8 * frame)
            if heard.shape[1] + n > 60 * frame:
                break
            planes = script(source, channels, frame, heard.shape[1], n)
            heard = np.concatenate([heard, planes], axis=1)
            events, expected = session.feed(planes), oracle.feed(planes)
        assert plain(events) == plain_of(expected)
        assert session.received_pos == heard.shape[1]
        for event in events:
            # The audio of an open segment can be asked for.
            if event.kind == INTERIM and session.speaking(event.channel) and event is events[-1]:
                asked = session.read(event.channel, event.start_pos, event.end_pos)
                np.testing.assert_array_equal(asked, heard[event.channel, event.start_pos : event.end_pos])
    assert plain(session.finish()) == plain_of(oracle.finish())
    assert session.finish() == []
    if source.flag():
        fails(session, channels, frame)


def plain_of(events: list[ref.SessionEvent]) -> list[tuple[str, int, int, int, bytes | None]]:
    return [(*event[:4], None if event[4] is None else event[4].tobytes()) for event in events]


def fails(session: VadSession, channels: int, frame: int) -> None:
    """A detector that raises: refused until reset, and nothing is lost of what had been heard."""
    session.reset()
    bad = np.ones((channels, 3 * frame), np.float32)
    bad[:, frame] = 0.9
    try:
        session.feed(bad)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("the detector's failure did not pass")
    try:
        session.feed(bad)
    except RuntimeError:
        pass
    else:
        raise AssertionError("fed after a failure")
    for event in session.finish():
        assert event.end_pos <= session.received_pos
    session.reset()
    session.feed(np.ones((channels, 3 * frame), np.float32))


def real(source: Source) -> None:
    """A compiled detector, one piece against many."""
    channels = source.integer(1, 3)
    planes = np.concatenate([np.stack([source.plane(source.size(4000))] * channels) for _ in range(5)], axis=1)[
        :, :MAX_SAMPLES
    ]

    def session() -> VadSession:
        detector: Detector = EnergyDetector(channels, 16_000)
        return VadSession(detector, EndpointConfig(detector.frame_samples, **settings))

    settings = settings_of(source, 320)
    whole, cut = session(), session()
    expected = plain(whole.feed(planes) + whole.finish())
    events, taken = [], 0
    while source.left and taken < planes.shape[1]:
        n = source.size(2000)
        events += cut.feed(planes[:, taken : taken + n])
        taken += n
    events += cut.feed(planes[:, taken:])
    assert plain(events + cut.finish()) == expected
    assert cut.nbytes <= channels * 4 * (2 * (sum(settings.values()) + 4 * 320) + 8192) + 4096


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.integer(0, 3) == 0:
        real(source)
    else:
        scripted(source)


SEEDS = [
    bytes([1, 10, 0, 0, 2, 1, 3, 0, 30, 1, 9, 9, 20, 0, 0, 5] + [4, 30, 1, 8] * 30),
    bytes([0]) + bytes(range(200)),
]
