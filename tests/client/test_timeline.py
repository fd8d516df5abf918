"""Times and segment ids continue over several sessions."""

from __future__ import annotations

from voxgate.client.check import ResultCheck
from voxgate.client.timeline import Timeline
from voxgate.protocol.events import Active, Error, Inactive, Probabilities, Segment, SpeechResumed


def test_an_utterance_that_goes_on_beyond_what_was_answered_is_given_whole() -> None:
    check = ResultCheck(2)
    timeline = Timeline(2)
    for event in (Active(0.0, 0), Segment(0.0, 30.0, True, {}, 0), Active(5.0, 1)):
        check.receive(event)
        assert timeline.place(event) == [event]
    assert timeline.answered_s(check) == [30.0, 5.0]
    timeline.resume(check, 5.0)
    assert timeline.answered_s(ResultCheck(2)) == [30.0, 5.0]  # should this session be lost at once
    assert timeline.place(Active(0.0, 0)) == []
    assert timeline.place(Segment(0.0, 30.0, True, {}, 0)) == [Active(5.0, 0), Segment(5.0, 35.0, True, {}, 0)]
    assert timeline.place(SpeechResumed(30.5, 0)) == [SpeechResumed(35.5, 0)]
    assert timeline.place(Inactive(31.0, 0)) == [Inactive(36.0, 0)]
    assert timeline.place(Probabilities(1.0, 0.032, [0.5], 0)) == [Probabilities(6.0, 0.032, [0.5], 0)]
    assert timeline.n_left_out == 0


def test_segment_ids_go_on_over_sessions() -> None:
    check, timeline = ResultCheck(2), Timeline(2)
    for event in (Active(0.0, 0, 0), Inactive(1.0, 0, 0), Active(2.0, 0, 1), Segment(0.0, 1.0, True, {}, 0, 0)):
        check.receive(event)
        assert timeline.place(event) == [event]
    timeline.resume(check, 1.5)
    assert timeline.place(Active(0.5, 0, 0)) == [Active(2.0, 0, 2)]
    assert timeline.place(Error("no", "inference_failed", 0, 0)) == [Error("no", "inference_failed", 0, 2)]
    assert timeline.place(Segment(0.0, 1.0, True, {}, 1, 0)) == [Segment(1.5, 2.5, True, {}, 1, 0)]
    timeline.resume(ResultCheck(2), 3.0)
    assert timeline.place(Active(0.5, 0, 0)) == [Active(3.5, 0, 3)]
    assert timeline.place(Active(0.5, 1, 0)) == [Active(3.5, 1, 1)]
