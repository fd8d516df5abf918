"""VadEvent: its fields, its text, and copies of it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from voxgate._native.event import INTERIM, SPEECH_CUT, SPEECH_END, SPEECH_START, EventBuffer, VadEvent


def test_the_kinds_are_numbered() -> None:
    assert (SPEECH_START, SPEECH_END, SPEECH_CUT, INTERIM) == (1, 2, 3, 4)


def test_text_and_fields() -> None:
    event = VadEvent(SPEECH_CUT, 1, 2, 3)
    assert repr(event) == "VadEvent(SPEECH_CUT, channel=1, start_pos=2, end_pos=3)"
    assert repr(VadEvent(9, 0, 0, 1)) == "VadEvent(9, channel=0, start_pos=0, end_pos=1)"
    assert event.audio is None
    with pytest.raises(AttributeError):
        event.kind = 3  # type: ignore[misc]


def test_an_event_survives_pickling_with_its_audio() -> None:
    audio = np.arange(5, dtype=np.float32)
    copy = pickle.loads(pickle.dumps(VadEvent(SPEECH_END, 2, 2**40, 2**40 + 5, audio)))
    assert (copy.kind, copy.channel, copy.start_pos, copy.end_pos) == (SPEECH_END, 2, 2**40, 2**40 + 5)
    np.testing.assert_array_equal(copy.audio, audio)


def test_a_buffer_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="belongs to one VadSession"):
        pickle.dumps(EventBuffer())
