"""What becomes of segments, with the detector: the laws of order and supersession are in tests/test_laws.py."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.handlers import open_handler
from helpers.wire import bursts, encode
from voxgate.protocol.events import Active, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions

S16 = AudioFormat(1, 16_000, 16, False)
QUIET = {"vad.prefix_padding_ms": 0, "vad.silence_duration_ms": 200}


def test_clear_drops_the_open_utterance_and_everything_before_it():
    handled = open_handler("segmented", Start(S16, interim_results=True, notices=True), **QUIET)
    data = encode(bursts((0.5, 1.5), (2.5, 3.0), length_s=4.0))
    handled.feed(data[: 2 * 17_600])  # 1.1 s: the first utterance is open, and has an interim
    assert [event.type for event in handled.events] == ["active"]
    assert len(handled.jobs) == 1
    handled.handler.clear()
    assert handled.jobs == []
    assert handled.events[1:] == [Inactive(1.1, 0, 0)]
    assert not handled.handler.speaking
    handled.feed(data[2 * 17_600 :])
    handled.handler.finish()
    handled.answer_all()
    # Speech that goes on opens the next utterance, not before where the audio was dropped.
    starts = [event.time for event in handled.events if isinstance(event, Active)]
    assert len(starts) == 3
    assert 1.1 <= starts[1] < 1.2
    finals = [event for event in handled.events if isinstance(event, Segment) and event.is_final]
    assert [event.start_time for event in finals] == starts[1:]
    assert [event.segment_id for event in finals] == [1, 2]
    assert handled.handler.pending == 0


def test_clear_forgets_audio_that_the_next_utterance_would_have_begun_with():
    data = encode(bursts((1.0, 1.5), length_s=2.5))
    starts = []
    for is_cleared in (False, True):
        handled = open_handler("segmented", Start(S16), **{**QUIET, "vad.prefix_padding_ms": 600})
        handled.feed(data[: 2 * 15_000])
        if is_cleared:
            handled.handler.clear()
        handled.feed(data[2 * 15_000 :])
        handled.handler.finish()
        handled.answer_all()
        starts.append(next(event.time for event in handled.events if isinstance(event, Active)))
    assert starts[0] < 0.5
    assert starts[1] == 15_000 / 16_000


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_step_in_order_follows_the_events_of_all_audio_before_it(probabilities):
    """Also of frames that the detector has not looked at in this turn of the event loop."""
    handled = open_handler("segmented", Start(S16, probabilities=probabilities), **QUIET)
    handled.handler.feed(encode(bursts((0.5, 1.0), length_s=1.5)))
    found: list[str] = []
    handled.handler.in_order(
        lambda: found.extend(event.type for event in handled.events if event.type != "probabilities")
    )
    assert found == ["active", "inactive"]


def test_clear_without_an_open_utterance_says_nothing():
    handled = open_handler("segmented", Start(S16), **QUIET)
    handled.handler.clear()
    handled.feed(bytes(3200))
    handled.handler.clear()
    handled.handler.finish()
    assert handled.events == []


@pytest.mark.parametrize("route", ["simple", "stateful"])
def test_clear_changes_nothing_on_routes_without_segments(route):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    heard = []
    for is_cleared in (False, True):
        handled = open_handler(route, Start(S16))
        handled.feed(encode(audio[:1000]))
        if is_cleared:
            handled.handler.clear()
        handled.feed(encode(audio[1000:]))
        handled.handler.finish()
        handled.answer_all()
        heard.append(np.concatenate(handled.audio))
    np.testing.assert_array_equal(*heard)


def test_sessions_with_equal_rules_share_them():
    """Rules of their own would have to come from memory for each frame of each stream."""
    first, second, other = (
        open_handler("segmented", Start(S16, vad=vad), **QUIET).handler._session.config
        for vad in (None, None, VadOptions(silence_duration_ms=250))
    )
    assert first is second
    assert (first.silence_samples, other.silence_samples) == (3200, 4000)
