"""The endpointing rules: each by hand at its exact boundaries, all together against the textbook twin."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.endpoint_kinds import KINDS
from helpers.endpoint_rules import FRAME_SAMPLES as F
from helpers.endpoint_rules import plain_config, rules
from reference import endpoint_ref as ref
from voxgate._native.endpoint import (
    QUESTION,
    SPEECH_END,
    SPEECH_START,
    EndpointConfig,
    Endpointer,
)

# One character a frame: speech, silence, in between.
LEVELS = {"S": 1.0, ".": 0.0, "~": 0.4}


def run(script: str, flush_at: int | None = None, **changes: Any) -> list[tuple[str, int, int]]:
    endpointer = Endpointer(plain_config(**changes))
    events = [event for frame in script for event in endpointer.step(LEVELS[frame])]
    if flush_at is not None:
        events += endpointer.flush(flush_at)
    return [(KINDS[kind], start, end) for kind, start, end in events]


class TestStart:
    def test_at_once_without_a_least_duration(self) -> None:
        assert run("..S") == [("start", 20, 30)]

    @pytest.mark.parametrize(("min_speech", "decided"), [(9, 10), (10, 10), (11, 20), (20, 20), (21, 30)])
    def test_after_the_least_duration(self, min_speech: int, decided: int) -> None:
        assert run("SSSS", min_speech_samples=min_speech) == [("start", 0, decided)]

    def test_too_short_speech_is_dropped_and_counting_begins_again(self) -> None:
        assert run("SS.SS.SSS", min_speech_samples=30) == [("start", 60, 90)]

    def test_in_between_frames_keep_a_candidate_but_do_not_make_one(self) -> None:
        assert run("~S~~", min_speech_samples=30) == [("start", 10, 40)]

    @pytest.mark.parametrize(("prefix", "start"), [(0, 50), (1, 49), (49, 1), (50, 0), (51, 0), (1000, 0)])
    def test_prefix_reaches_back_but_not_before_zero(self, prefix: int, start: int) -> None:
        assert run(".....S", prefix_samples=prefix) == [("start", start, 60)]

    @pytest.mark.parametrize(("prefix", "start"), [(30, 20), (39, 11), (40, 10), (41, 10), (1000, 10)])
    def test_prefix_does_not_reach_into_the_segment_before(self, prefix: int, start: int) -> None:
        # The first ends at 10, where its speech ends, though that is decided at 40.
        assert run("S...." + "S", prefix_samples=prefix)[2:] == [("start", start, 60)]

    def test_thresholds_are_compared_as_float32(self) -> None:
        # 0.35 as float32 is a little less than 0.35: a probability of exactly the threshold must not count as below it.
        endpointer = Endpointer(plain_config(threshold=0.35, negative_threshold=0.35))
        assert endpointer.step(float(np.float32(0.35))) == [(SPEECH_START, 0, 10)]
        below = float(np.nextafter(np.float32(0.35), np.float32(0)))
        assert [endpointer.step(below) for _ in range(3)] == [[], [], [(SPEECH_END, 0, 10)]]


class TestEnd:
    @pytest.mark.parametrize(("silence", "frames"), [(0, 1), (1, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
    def test_decided_after_the_silence_but_lies_where_speech_ended(self, silence: int, frames: int) -> None:
        assert run("SS" + "." * (frames - 1), silence_samples=silence)[1:] == []
        assert run("SS" + "." * frames, silence_samples=silence)[1:] == [("end", 0, 20)]

    def test_speech_ends_the_run(self) -> None:
        assert run("S..S..S...")[1:] == [("end", 0, 70)]

    def test_in_between_leaves_a_run_running_and_does_not_start_one(self) -> None:
        assert run("S~.~~")[1:] == [("end", 0, 20)]
        assert run("S~~~~~")[1:] == []

    @pytest.mark.parametrize(("suffix", "end"), [(0, 20), (1, 21), (29, 49), (30, 50), (31, 50), (1000, 50)])
    def test_suffix_never_reaches_beyond_what_was_heard(self, suffix: int, end: int) -> None:
        assert run("SS...", suffix_samples=suffix)[1:] == [("end", 0, end)]

    def test_next_segment_begins_where_the_suffix_ended(self) -> None:
        assert run("S...S", suffix_samples=25, prefix_samples=1000) == [
            ("start", 0, 10),
            ("end", 0, 35),
            ("start", 35, 50),
        ]


class TestCut:
    def test_exactly_at_the_longest_length(self) -> None:
        assert run("SSSS", max_segment_samples=20)[1:] == [("cut", 0, 20), ("cut", 20, 40)]

    def test_within_a_frame(self) -> None:
        assert run("SSSS...", max_segment_samples=25)[1:] == [("cut", 0, 25), ("end", 25, 40)]

    def test_several_in_one_frame(self) -> None:
        assert run("S", max_segment_samples=4) == [("start", 0, 10), ("cut", 0, 4), ("cut", 4, 8)]

    def test_a_prefix_longer_than_the_longest_segment_is_cut_up_at_once(self) -> None:
        assert run("....S", prefix_samples=40, max_segment_samples=20) == [
            ("start", 0, 50),
            ("cut", 0, 20),
            ("cut", 20, 40),
        ]

    def test_a_silence_run_closes_instead(self) -> None:
        assert run("SSS.S", max_segment_samples=40) == [("start", 0, 10), ("end", 0, 30), ("start", 40, 50)]

    def test_a_silence_run_closes_at_the_longest_length_at_most(self) -> None:
        assert run("SSS.", max_segment_samples=35, suffix_samples=8)[1:] == [("end", 0, 35)]
        assert run("SSS.", max_segment_samples=35, suffix_samples=4)[1:] == [("end", 0, 34)]

    def test_last_segment_after_a_cut_may_be_empty(self) -> None:
        assert run("SS...", max_segment_samples=20)[1:] == [("cut", 0, 20), ("end", 20, 20)]

    def test_longest_length_shorter_than_the_silence(self) -> None:
        assert run("S.....", silence_samples=1000, max_segment_samples=30)[1:] == [("end", 0, 10)]


class TestInterim:
    def test_every_interval_of_speech_at_a_frame_end(self) -> None:
        assert run("SSSSSSS", interim_samples=25)[1:] == [("interim", 0, 30), ("interim", 0, 60)]

    def test_prefix_does_not_count(self) -> None:
        assert run("....SSS", interim_samples=30, prefix_samples=40) == [("start", 0, 50), ("interim", 0, 70)]

    def test_time_before_the_decision_counts(self) -> None:
        assert run("SSS", interim_samples=20, min_speech_samples=30) == [("start", 0, 30), ("interim", 0, 30)]

    def test_none_in_a_silence_run_and_made_up_for_after_it(self) -> None:
        assert run("S..SS", interim_samples=20)[1:] == [("interim", 0, 40)]

    def test_at_most_one_a_frame(self) -> None:
        assert run("SS", interim_samples=3)[1:] == [("interim", 0, 10), ("interim", 0, 20)]

    def test_interval_begins_anew_with_a_cut(self) -> None:
        assert run("SSSSSS", interim_samples=30, max_segment_samples=25)[1:] == [("cut", 0, 25), ("cut", 25, 50)]
        assert run("SSSSSS", interim_samples=30, max_segment_samples=30)[1:] == [("cut", 0, 30), ("cut", 30, 60)]
        assert run("SSSSSS", interim_samples=20, max_segment_samples=30)[1:] == [
            ("interim", 0, 20),
            ("cut", 0, 30),
            ("interim", 30, 50),
            ("cut", 30, 60),
        ]

    def test_none_unless_wanted(self) -> None:
        assert run("S" * 100)[1:] == []


class TestSpeculate:
    @pytest.mark.parametrize(("speculate", "frames"), [(1, 1), (10, 1), (11, 2), (20, 2)])
    def test_once_the_silence_is_that_long(self, speculate: int, frames: int) -> None:
        assert run("SS" + "." * (frames - 1), speculate_samples=speculate)[1:] == []
        assert run("SS" + "." * frames, speculate_samples=speculate)[1:] == [("speculate", 0, 20)]
        assert run("SS...", speculate_samples=speculate)[1:] == [("speculate", 0, 20), ("end", 0, 20)]

    @pytest.mark.parametrize(("suffix", "frames"), [(0, 1), (10, 1), (11, 2), (20, 2)])
    def test_not_before_the_suffix_is_heard(self, suffix: int, frames: int) -> None:
        changes = {"speculate_samples": 5, "suffix_samples": suffix}
        assert run("SS" + "." * (frames - 1), **changes)[1:] == []
        assert run("SS" + "." * frames, **changes)[1:] == [("speculate", 0, 20 + suffix)]
        assert run("SS...", **changes)[2:] == [("end", 0, 20 + suffix)]

    @pytest.mark.parametrize("changes", [{"speculate_samples": 30}, {"speculate_samples": 5, "suffix_samples": 30}])
    def test_not_at_all_when_the_silence_is_over_then(self, changes: dict[str, int]) -> None:
        assert [kind for kind, *_ in run("SS...", **changes)] == ["start", "end"]

    def test_speech_takes_it_back_and_the_next_pause_has_its_own(self) -> None:
        assert run("SS..S..S", speculate_samples=20)[1:] == [
            ("speculate", 0, 20), ("resumed", 0, 40), ("speculate", 0, 50), ("resumed", 0, 70),
        ]  # fmt: skip

    def test_a_probability_in_between_takes_nothing_back(self) -> None:
        assert run("SS.~~", speculate_samples=20)[1:] == [("speculate", 0, 20), ("end", 0, 20)]

    def test_none_before_the_longest_length_closes_the_segment(self) -> None:
        assert run("SS..", speculate_samples=20, max_segment_samples=40)[1:] == [("end", 0, 20)]
        assert run("SS...", speculate_samples=20, max_segment_samples=50, silence_samples=99)[1:] == [
            ("speculate", 0, 20), ("end", 0, 20),
        ]  # fmt: skip

    def test_a_flush_ends_what_was_speculated(self) -> None:
        assert run("SS..", flush_at=43, speculate_samples=20)[1:] == [("speculate", 0, 20), ("end", 0, 20)]

    def test_the_next_segment_begins_anew(self) -> None:
        assert run("S...S..", speculate_samples=20)[1:] == [
            ("speculate", 0, 10), ("end", 0, 10), ("start", 40, 50), ("speculate", 40, 50),
        ]  # fmt: skip


class TestClear:
    def test_drops_the_open_segment_without_an_event(self) -> None:
        endpointer = Endpointer(plain_config(speculate_samples=10))
        endpointer.step(1.0)
        endpointer.step(0.0)
        endpointer.clear(23)
        assert not endpointer.speaking
        assert endpointer.flush(25) == []
        assert endpointer.step(1.0) == [(SPEECH_START, 23, 30)]

    def test_drops_a_candidate(self) -> None:
        endpointer = Endpointer(plain_config(min_speech_samples=20, prefix_samples=100))
        endpointer.step(1.0)
        endpointer.clear(10)
        assert endpointer.step(1.0) == []
        assert endpointer.step(1.0) == [(SPEECH_START, 10, 30)]

    def test_position_before_the_last_frame_is_refused(self) -> None:
        endpointer = Endpointer(plain_config())
        endpointer.step(1.0)
        with pytest.raises(ValueError, match="received_pos must be at least 10, got 9"):
            endpointer.clear(9)


class TestQuestions:
    def ask(self, script: str, verdict: int, **changes: Any) -> list[tuple[str, int, int]]:
        """The events; every question gets this answer."""
        endpointer = Endpointer(plain_config(turn_samples=20, **changes))
        events: list[tuple[int, int, int]] = []
        for frame in script:
            new = endpointer.step(LEVELS[frame])
            if new and new[-1][0] == QUESTION:
                new += endpointer.answer(verdict)
            events += new
        return [(KINDS[kind], start, end) for kind, start, end in events][1:]

    def test_over_ends_the_segment_in_the_frame_that_asked(self) -> None:
        assert self.ask("SS..", 1) == [("question", 0, 40), ("end", 0, 20)]
        assert self.ask("SS..", 1, suffix_samples=15) == [("question", 0, 40), ("end", 0, 35)]

    def test_neither_leaves_it_to_silence(self) -> None:
        assert self.ask("SS...", 0) == [("question", 0, 40), ("end", 0, 20)]
        assert self.ask("SS..", 0) == [("question", 0, 40)]

    @pytest.mark.parametrize(("longest", "frames"), [(50, 5), (20, 3), (0, 3)])
    def test_more_to_come_ends_after_the_longest_silence(self, longest: int, frames: int) -> None:
        assert self.ask("SS" + "." * (frames - 1), -1, turn_max_samples=longest) == [("question", 0, 40)]
        assert self.ask("SS" + "." * frames, -1, turn_max_samples=longest)[1:] == [("end", 0, 20)]

    def test_patience_ends_with_the_pause(self) -> None:
        told = self.ask("SS..S..", -1, turn_max_samples=50)
        assert told == [("question", 0, 40), ("resumed", 0, 40), ("question", 0, 70)]
        endpointer = Endpointer(plain_config(turn_samples=20, turn_max_samples=90))
        for frame in "SS..":
            endpointer.step(LEVELS[frame])
        endpointer.answer(-1)
        endpointer.step(1.0)
        for _ in range(3):
            events = endpointer.step(0.0)
        assert events == [(SPEECH_END, 0, 50)]

    def test_it_waits_for_the_suffix_and_speculates_first(self) -> None:
        assert self.ask("SS...", 0, suffix_samples=29, silence_samples=60) == [("question", 0, 50)]
        assert self.ask("SS..", 1, speculate_samples=20) == [("speculate", 0, 20), ("question", 0, 40), ("end", 0, 20)]

    def test_it_has_the_last_audio_of_the_segment(self) -> None:
        assert self.ask("SS..", 0, turn_window_samples=25) == [("question", 15, 40)]

    def test_speech_that_ended_where_it_was_cut_is_not_asked_about(self) -> None:
        assert self.ask("SS....", 1, max_segment_samples=20, silence_samples=60)[0] == ("cut", 0, 20)
        assert "question" not in dict.fromkeys(
            kind for kind, _, _ in self.ask("SS....", 1, max_segment_samples=20, silence_samples=60)
        )

    def test_an_answer_needs_a_question(self) -> None:
        endpointer = Endpointer(plain_config(turn_samples=20))
        with pytest.raises(ValueError, match="no question is open"):
            endpointer.answer(1)
        for frame in "SS...":
            endpointer.step(LEVELS[frame])
        with pytest.raises(ValueError, match="no question is open"):
            endpointer.answer(1)


class TestFlush:
    def test_closes_amid_a_frame(self) -> None:
        assert run("SS", flush_at=27)[1:] == [("end", 0, 27)]

    def test_closes_where_speech_ended(self) -> None:
        assert run("SS.", flush_at=37)[1:] == [("end", 0, 20)]
        assert run("SS.", flush_at=37, suffix_samples=15)[1:] == [("end", 0, 35)]
        assert run("SS.", flush_at=37, suffix_samples=18)[1:] == [("end", 0, 37)]

    def test_cuts_first_what_has_outgrown_the_longest_length(self) -> None:
        assert run("SS", flush_at=28, max_segment_samples=25)[1:] == [("cut", 0, 25), ("end", 25, 28)]
        assert run("SS", flush_at=25, max_segment_samples=25)[1:] == [("end", 0, 25)]
        assert run("SS.", flush_at=38, max_segment_samples=35, suffix_samples=100)[1:] == [("end", 0, 35)]

    @pytest.mark.parametrize("script", ["", "...", "S", "S...."])
    def test_does_nothing_when_nothing_is_open(self, script: str) -> None:
        endpointer = Endpointer(plain_config(min_speech_samples=11))
        for frame in script:
            endpointer.step(LEVELS[frame])
        assert endpointer.flush(len(script) * F + 5) == []

    def test_keeps_a_candidate(self) -> None:
        endpointer = Endpointer(plain_config(min_speech_samples=20))
        assert endpointer.step(1.0) == []
        assert endpointer.flush(15) == []
        assert endpointer.step(1.0) == [(SPEECH_START, 0, 20)]

    def test_twice_is_once(self) -> None:
        endpointer = Endpointer(plain_config())
        endpointer.step(1.0)
        assert endpointer.flush(13) == [(SPEECH_END, 0, 13)]
        assert endpointer.flush(13) == []
        assert endpointer.flush(17) == []

    def test_what_was_flushed_is_not_counted_as_speech_again(self) -> None:
        endpointer = Endpointer(plain_config(min_speech_samples=10, prefix_samples=100))
        endpointer.step(1.0)
        assert endpointer.flush(14) == [(SPEECH_END, 0, 14)]
        assert endpointer.step(1.0) == []  # the frame 10..20 counts from 14
        assert endpointer.step(1.0) == [(SPEECH_START, 14, 30)]

    def test_position_before_the_last_frame_is_refused(self) -> None:
        endpointer = Endpointer(plain_config())
        endpointer.step(1.0)
        with pytest.raises(ValueError, match="received_pos must be at least 10, got 9"):
            endpointer.flush(9)


def test_a_shorter_last_frame_keeps_positions_within_the_audio() -> None:
    endpointer = Endpointer(plain_config(min_speech_samples=13))
    assert endpointer.step(1.0) == []
    assert endpointer.step(1.0, end_pos=12) == []
    endpointer.reset()
    endpointer.step(1.0)
    assert endpointer.step(1.0, end_pos=13) == [(SPEECH_START, 0, 13)]
    with pytest.raises(ValueError, match="end_pos must be more than 13, got 13"):
        endpointer.step(1.0, end_pos=13)


def test_positions_beyond_32_bits() -> None:
    endpointer = Endpointer(plain_config(prefix_samples=5))
    far = 1 << 41
    assert endpointer.step(0.0, end_pos=far) == []
    assert endpointer.step(1.0) == [(SPEECH_START, far - 5, far + 10)]
    assert endpointer.flush(far + 10) == [(SPEECH_END, far - 5, far + 10)]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("frame_samples", 0, r"frame_samples must be within 1\.\."),
        ("max_segment_samples", 0, r"max_segment_samples must be within 1\.\."),
        ("prefix_samples", -1, r"prefix_samples must be within 0\.\..*got -1"),
        ("suffix_samples", 1 << 41, r"suffix_samples must be within 0\.\."),
        ("silence_samples", -1, "silence_samples"),
        ("min_speech_samples", -1, "min_speech_samples"),
        ("interim_samples", -1, "interim_samples"),
        ("threshold", 1.1, r"threshold must be within 0\.\.1\.0, got 1\.1"),
        ("threshold", float("nan"), "threshold"),
        ("negative_threshold", 0.6, r"negative_threshold must be within 0\.\.0\.5, got 0\.6"),
        ("negative_threshold", -0.1, "negative_threshold"),
    ],
)
def test_config_names_what_is_out_of_range(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain_config(**{field: value})


@pytest.mark.parametrize("value", [1.5, "1", None, True])
def test_config_wants_integers(value: Any) -> None:
    with pytest.raises(TypeError, match="prefix_samples must be an integer"):
        plain_config(prefix_samples=value)


def test_config_tells_what_it_was_given() -> None:
    rules = ref.Rules(7, 0.75, 0.25, 1, 2, 3, 4, 5, 6, 7)
    made = EndpointConfig(**asdict(rules))
    assert {name: getattr(made, name) for name in asdict(rules)} == asdict(rules)
    assert "prefix_samples=1" in repr(made)
    assert repr(pickle.loads(pickle.dumps(made))) == repr(made)
    with pytest.raises(TypeError, match="belongs to one stream"):
        pickle.dumps(Endpointer(made))


level = st.sampled_from([0.0, 0.2, 0.3, float(np.float32(0.35)), 0.4, 0.5, 0.9, 1.0])
# Runs of one level, so that long speech and long silence come about, and flushes and clears amid a frame.
between = st.tuples(st.sampled_from([ref.Flush, ref.Flush, ref.Clear]), st.integers(0, 8))
answer = st.tuples(st.just(ref.Answer), st.integers(-1, 1))
happening = st.one_of(st.tuples(level, st.integers(1, 12)), st.integers(0, 8), between, answer)


@settings(max_examples=400, deadline=None)
@given(
    rules(threshold=st.sampled_from([0.5, 0.35, 1.0]), negative_threshold=st.sampled_from([0.35, 0.2, 0.0])),
    st.lists(happening, max_size=25),
)
@example(ref.Rules(4, silence_samples=4, max_segment_samples=1, prefix_samples=9), [(1.0, 3), 2, (1.0, 1), (0.0, 3)])
def test_like_the_textbook_and_by_the_laws(rules: ref.Rules, script: list[Any]) -> None:
    size = rules.frame_samples
    happenings: list[ref.Happening] = []
    heard = received = 0
    for item in script:
        kind, offset = (ref.Flush, item) if isinstance(item, int) else item
        if kind is ref.Answer:
            happenings.append(ref.Answer(offset))
            continue
        if not isinstance(kind, float):
            received = max(received, heard + offset % size)
            happenings.append(kind(received))
            continue
        for _ in range(item[1]):
            happenings.append(ref.Frame(heard, heard + size, item[0]))
            heard = received = heard + size

    endpointer = Endpointer(EndpointConfig(**asdict(rules)))
    got, kept = [], 0
    for one in happenings:
        keep = endpointer.keep_pos
        assert keep >= kept
        kept = keep
        if isinstance(one, ref.Clear):
            endpointer.clear(one.received)
            events = []
        elif isinstance(one, ref.Answer):
            is_asked = bool(got) and any(kind == "question" for kind, _, _ in got[-1])
            events = endpointer.answer(one.verdict) if is_asked else []
        elif isinstance(one, ref.Flush):
            events = endpointer.flush(one.received)
        else:
            events = endpointer.step(one.probability, one.end)
        assert all(start >= kept for _, start, _ in events)
        got.append([(KINDS[kind], start, end) for kind, start, end in events])
        assert endpointer.speaking == follow(happenings, got)
    assert got == ref.endpoint_events(rules, happenings)
    check_laws(rules, happenings, got)


def follow(happenings: list[ref.Happening], told: list[list[tuple[str, int, int]]]) -> bool:
    speaking = False
    for one, events in zip(happenings, told, strict=False):
        if isinstance(one, ref.Clear):
            speaking = False
        for kind, _, _ in events:
            speaking = {"start": True, "end": False}.get(kind, speaking)
    return speaking


def check_laws(rules: ref.Rules, happenings: list[ref.Happening], told: list[list[tuple[str, int, int]]]) -> None:
    speaking, end_before, open_start, last_interim = False, 0, 0, -1
    after_cut = False
    speculated: tuple[int, int] | None = None
    asked = False
    now = 0
    for one, events in zip(happenings, told, strict=True):
        if not isinstance(one, ref.Answer):
            now = one.end if isinstance(one, ref.Frame) else one.received
        if isinstance(one, ref.Clear):
            speaking, speculated, asked, end_before = False, None, False, now
        for kind, start, end in events:
            assert speaking == (kind != "start")
            assert 0 <= end_before <= start <= end <= now
            if kind == "start":
                speaking, open_start, after_cut = True, start, False
                assert end == now
                continue
            if kind == "question":
                assert not asked
                assert start == max(open_start, end - rules.turn_window_samples)
                asked = True
                continue
            assert start == open_start
            if kind == "speculate":
                assert speculated is None
                speculated = (start, end)
                continue
            if kind == "resumed":
                assert speculated is not None or asked
                speculated, asked = None, False
                continue
            # What was speculated is exactly what comes, unless speech went on.
            assert speculated is None or (kind == "end" and speculated == (start, end))
            if kind == "interim":
                assert end == now > last_interim
                last_interim = now
                continue
            assert end - start <= rules.max_segment_samples
            assert end > start or (kind == "end" and after_cut)
            end_before = open_start = end
            if kind == "cut":
                assert end - start == rules.max_segment_samples
                after_cut = True
            else:
                speaking, speculated, asked = False, None, False
        if isinstance(one, ref.Flush):
            assert not speaking


def test_settings_do_not_change_and_positions_are_integers() -> None:
    config = EndpointConfig(320)
    config.__init__(1)  # type: ignore[misc]
    assert config.frame_samples == 320
    endpointer = Endpointer(config)
    for wrong in (1.5, "1"):
        with pytest.raises(TypeError):
            endpointer.step(0.9, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            endpointer.flush(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="end_pos must be at most"):
        endpointer.step(0.9, 2**63 - 1)
