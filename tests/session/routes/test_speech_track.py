"""The probabilities of every frame; that asking for them changes nothing else is in tests/test_laws.py."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.handlers import DETECTORS
from helpers.wire import bursts
from voxgate._native.session import VadSession
from voxgate.session.routes.speech_track import SpeechTrack
from voxgate.vad.config import VadConfig

FACTORY = DETECTORS["energy"]
RULES = VadConfig().to_endpoint(FACTORY.frame_samples, FACTORY.sample_rate)


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 20_000])
@pytest.mark.parametrize("size", [1, 160, 777, 1 << 20])
def test_every_frame_has_one_value_and_the_events_are_those_of_the_session(n_samples, size):
    if size == 1 and n_samples > 1000:
        n_samples = 1000
    audio = bursts((0.3, 0.6), length_s=2.0)[None, :n_samples]
    sent = []
    track = SpeechTrack(VadSession(FACTORY.create(1), RULES), 16_000, sent.append)
    events = [event for begin in range(0, n_samples, size) for event in track.feed(audio[:, begin : begin + size])]
    events += track.finish()
    values = [value for event in sent for value in event.values]
    rest = -n_samples % FACTORY.frame_samples
    expected = FACTORY.create(1).probabilities(np.pad(audio, ((0, 0), (0, rest))))[0]
    np.testing.assert_array_equal(np.float32(values), expected)
    plain = VadSession(FACTORY.create(1), RULES)
    assert list(map(repr, events)) == list(map(repr, plain.feed(audio) + plain.finish()))
    assert track.finish() == []
