"""Segments that a client ends itself, by hand and against a plain retelling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxgate._native.event import INTERIM, SPEECH_CUT, SPEECH_END, SPEECH_START, VadEvent
from voxgate.session.routes.manual_segments import ManualSegments

START, END, CUT = SPEECH_START, SPEECH_END, SPEECH_CUT


def ramp(channels: int, begin: int, end: int) -> np.ndarray:
    """Audio in which every sample tells its position and its channel."""
    return np.arange(begin, end, dtype=np.float32)[None] + 10_000 * np.arange(channels, dtype=np.float32)[:, None]


def told(events: list[VadEvent]) -> list[tuple[int, int, int]]:
    return [(event.kind, event.start_pos, event.end_pos) for event in events]


def test_a_segment_is_everything_since_the_last_flush():
    segments = ManualSegments(1, 100, 0)
    assert told(segments.feed(ramp(1, 0, 7))) == [(START, 0, 0)]
    assert segments.feed(ramp(1, 7, 12)) == []
    (end,) = segments.flush()
    assert told([end]) == [(END, 0, 12)]
    np.testing.assert_array_equal(end.audio, ramp(1, 0, 12)[0])
    assert segments.flush() == []
    assert not segments.speaking(0)
    assert told(segments.feed(ramp(1, 12, 13))) == [(START, 12, 12)]
    assert told(segments.flush()) == [(END, 12, 13)]


def test_a_flush_without_any_audio_ends_nothing():
    segments = ManualSegments(2, 100, 0)
    assert segments.flush() == []
    assert segments.feed(ramp(2, 0, 0)) == []
    assert segments.flush() == []


@pytest.mark.parametrize(
    ("n_samples", "events"),
    [
        (19, [(START, 0, 0), (END, 0, 19)]),
        (20, [(START, 0, 0), (CUT, 0, 20), (END, 20, 20)]),
        (21, [(START, 0, 0), (CUT, 0, 20), (END, 20, 21)]),
        (60, [(START, 0, 0), (CUT, 0, 20), (CUT, 20, 40), (CUT, 40, 60), (END, 60, 60)]),
    ],
)
def test_the_longest_segment_is_cut(n_samples, events):
    segments = ManualSegments(1, 20, 0)
    happened = segments.feed(ramp(1, 0, n_samples)) + segments.flush()
    assert told(happened) == events
    assert happened[-1].audio is None or len(happened[-1].audio) == happened[-1].end_pos - happened[-1].start_pos


def test_interims_come_at_their_interval_and_begin_anew_with_each_segment():
    segments = ManualSegments(1, 50, 20)
    events = segments.feed(ramp(1, 0, 75))
    assert told(events) == [
        (START, 0, 0), (INTERIM, 0, 20), (INTERIM, 0, 40), (CUT, 0, 50), (INTERIM, 50, 70),
    ]  # fmt: skip
    np.testing.assert_array_equal(segments.read(0, 50, 70), ramp(1, 50, 70)[0])
    assert told(segments.flush()) == [(END, 50, 75)]
    assert told(segments.feed(ramp(1, 75, 96))) == [(START, 75, 75), (INTERIM, 75, 95)]


def test_clear_drops_the_open_segment():
    segments = ManualSegments(1, 50, 0)
    segments.feed(ramp(1, 0, 10))
    assert segments.clear() == []
    assert not segments.speaking(0)
    assert segments.flush() == []
    events = segments.feed(ramp(1, 10, 15)) + segments.flush()
    assert told(events) == [(START, 10, 10), (END, 10, 15)]
    np.testing.assert_array_equal(events[-1].audio, ramp(1, 10, 15)[0])
    with pytest.raises(IndexError):
        segments.read(0, 0, 10)


happenings = st.lists(st.integers(1, 70) | st.sampled_from(["flush", "clear"]), max_size=20)


@settings(max_examples=200, deadline=None)
@given(happenings, st.integers(1, 2), st.integers(1, 40), st.integers(0, 30), st.data())
def test_cuts_anywhere_give_the_same_events_with_the_same_audio(steps, channels, longest, interim, data):
    def run(is_cut: bool) -> list[Any]:
        segments, position, events = ManualSegments(channels, longest, interim), 0, []
        for step in steps:
            if isinstance(step, int):
                pieces = [step]
                if is_cut:
                    at = sorted(data.draw(st.lists(st.integers(0, step), max_size=4)))
                    pieces = [b - a for a, b in zip([0, *at], [*at, step], strict=True)]
                for size in pieces:
                    events += segments.feed(ramp(channels, position, position + size))
                    position += size
                    assert segments.received_pos == position
            else:
                events += segments.flush() if step == "flush" else segments.clear()
        return [
            (event.kind, event.channel, event.start_pos, event.end_pos)
            + (() if event.audio is None else (event.audio.tobytes(),))
            for event in events + segments.flush()
        ]

    whole = run(False)
    assert run(True) == whole
    # What is not dropped is in exactly one segment, in order, and none is longer than the longest.
    position, kept = 0, []
    pending: list[int] = []
    for step in steps:
        if isinstance(step, int):
            pending += range(position, position + step)
            position += step
        elif step == "flush":
            kept += pending
            pending = []
        else:
            pending = pending[: len(pending) // longest * longest]  # The cut part has gone out already.
            kept += pending
            pending = []
    kept += pending
    ends = [event for event in whole if event[0] in (END, CUT) and event[1] == 0]
    assert all(end - start <= longest for _, _, start, end, *_ in ends)
    assert [sample for _, _, start, end, *_ in ends for sample in range(start, end)] == kept
    assert b"".join(audio for *_, audio in (end for end in ends if len(end) == 5)) == (
        np.array(kept, np.float32).tobytes()
    )
