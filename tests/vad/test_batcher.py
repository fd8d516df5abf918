from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from voxgate._native.endpoint import EndpointConfig
from voxgate._native.session import VadSession
from voxgate.vad import batcher as vad_batcher
from voxgate.vad.batcher import VadBatcher
from voxgate.vad.detectors import load_detector

FACTORY = load_detector("silero")
QUIET = np.zeros((1, 512), np.float32)


class Loop:
    """Turns of an event loop, by hand."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.vad_batcher = VadBatcher(self.soon.append)

    def turn(self) -> None:
        soon, self.soon[:] = self.soon[:], []
        for callback in soon:
            callback()


def a_session(threshold: float = 0.0) -> VadSession:
    """To which, with threshold 0, everything is speech."""
    config = EndpointConfig(
        512, prefix_samples=0, suffix_samples=0, silence_samples=512, min_speech_samples=0, max_segment_samples=16_000,
        threshold=threshold, negative_threshold=0.0,
    )  # fmt: skip
    return VadSession(FACTORY.create(1), config)


def test_one_turn_hears_all_that_it_brought():
    loop, told = Loop(), []
    sessions = [a_session() for _ in range(5)]
    for session in sessions:
        assert session.take(QUIET)
        loop.vad_batcher.add(session, lambda outcome, session=session: told.append((session, len(outcome))))
    assert len(loop.soon) == 1
    assert told == []
    loop.turn()
    assert told == [(session, 1) for session in sessions]
    assert loop.soon == []
    assert loop.vad_batcher.share_s > 0.0


def test_who_has_nothing_to_be_told_is_not_told():
    loop = Loop()
    session = a_session(0.5)
    session.take(QUIET)
    loop.vad_batcher.add(session, lambda outcome: (_ for _ in ()).throw(AssertionError))
    loop.turn()
    assert 0.0 < session.last_probability(0) < 0.01


def test_a_session_that_comes_twice_is_told_once():
    loop, told = Loop(), []
    session = a_session()
    for _ in range(3):
        session.take(QUIET)
        loop.vad_batcher.add(session, lambda outcome: told.append(len(outcome)))
    loop.turn()
    assert told == [1]
    session.take(QUIET)
    loop.vad_batcher.add(session, told.append)
    assert len(loop.soon) == 1  # the next turn


def test_who_is_gone_is_not_heard():
    loop = Loop()
    session = a_session()
    session.take(QUIET)
    loop.vad_batcher.add(session, lambda outcome: (_ for _ in ()).throw(AssertionError))
    loop.vad_batcher.discard(session)
    loop.vad_batcher.discard(session)
    loop.turn()
    assert session.last_probability(0) == 0.0
    session.take(QUIET)
    told: list[Any] = []
    loop.vad_batcher.add(session, told.append)
    loop.turn()
    assert len(told) == 1


def test_more_than_a_turn_should_take_are_heard_in_several(monkeypatch):
    monkeypatch.setattr(vad_batcher, "MOST_SESSIONS", 3)
    loop, told = Loop(), []
    sessions = [a_session() for _ in range(8)]
    for number, session in enumerate(sessions):
        session.take(QUIET)
        loop.vad_batcher.add(session, lambda outcome, number=number: told.append(number))
    loop.turn()
    assert told == [0, 1, 2]
    loop.vad_batcher.discard(sessions[4])
    loop.turn()
    loop.turn()
    assert told == [0, 1, 2, 3, 5, 6, 7]
    assert loop.soon == []
