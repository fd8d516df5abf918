"""VadSession: chunking invisible, audio exact, memory bounded, failures defined. Probabilities are written into the
audio."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.endpoint_kinds import KINDS
from helpers.endpoint_rules import FRAME_SAMPLES as F
from helpers.endpoint_rules import plain_config, rules
from reference import endpoint_ref as ref
from voxgate._native.detector import CallableDetector
from voxgate._native.endpoint import EndpointConfig
from voxgate._native.energy import EnergyDetector
from voxgate._native.event import QUESTION, SPEECH_CUT, SPEECH_END, VadEvent
from voxgate._native.session import VadSession

Audio = npt.NDArray[np.float32]


class FirstSample:
    """The probability of a frame is the size of its first sample: audio is a script for probabilities."""

    def probability(self, frame: Audio) -> float:
        return abs(float(frame[0]))


def session(channels: int = 1, detector: Callable[[], Any] = FirstSample, **changes: Any) -> VadSession:
    config = plain_config(**{"max_segment_samples": 10_000, **changes})
    return VadSession(CallableDetector(detector, channels, config.frame_samples, 16000), config)


def script(frames: str, seed: int = 0) -> Audio:
    """One channel: "S" a frame of speech, "." one of silence; the samples between are all different."""
    audio = np.random.default_rng(seed).uniform(-1, 1, len(frames) * F).astype(np.float32)
    audio[::F] = [{"S": 1.0, ".": 0.0, "~": 0.4}[frame] for frame in frames]
    return audio[np.newaxis]


def plain(events: Iterable[VadEvent]) -> list[tuple[str, int, int, int, bytes | None]]:
    return [
        (KINDS[e.kind], e.channel, e.start_pos, e.end_pos, None if e.audio is None else e.audio.tobytes())
        for e in events
    ]


def bounds(events: Iterable[VadEvent]) -> list[tuple[str, int, int]]:
    return [(KINDS[e.kind], e.start_pos, e.end_pos) for e in events]


def feed_cut(
    vad: VadSession,
    audio: Audio,
    cuts: Iterable[int],
    answered: Callable[[VadSession, list[VadEvent]], list[VadEvent]] = lambda _vad, events: events,
) -> list[VadEvent]:
    """Questions are answered after every piece, or after the last one."""
    edges = [0, *sorted(cuts), audio.shape[1]]
    if len(edges) % 2:
        return answered(vad, [event for a, b in pairwise(edges) for event in vad.feed(audio[:, a:b])])
    return [event for a, b in pairwise(edges) for event in answered(vad, vad.feed(audio[:, a:b]))]


class TestAudio:
    def test_segment_is_the_slice_of_the_input(self) -> None:
        audio = script("..SSS....")
        events = session(prefix_samples=7, suffix_samples=4).feed(audio)
        assert bounds(events) == [("start", 13, 30), ("end", 13, 54)]
        assert events[0].audio is None
        samples = events[1].audio
        assert samples is not None
        assert samples.dtype == np.float32
        assert samples.tobytes() == audio[0, 13:54].tobytes()

    def test_is_the_events_own(self) -> None:
        vad = session(max_segment_samples=20)
        audio = script("SSSS")
        first, second = vad.feed(audio)[1:]
        assert first.audio is not None
        assert second.audio is not None
        before = second.audio.copy()
        first.audio[:] = 9
        vad.feed(np.zeros((1, 5000), np.float32))
        assert first.audio.flags.writeable
        assert np.array_equal(second.audio, before)

    def test_outlives_event_and_session(self) -> None:
        vad = session()
        audio = script("SS...")
        samples = vad.feed(audio)[1].audio
        assert samples is not None
        alive = weakref.ref(samples)
        del vad
        gc.collect()
        assert np.array_equal(samples, audio[0, :20])
        del samples
        assert alive() is None

    def test_empty_segment_after_a_cut_has_none(self) -> None:
        events = session(max_segment_samples=20).feed(script("SS..."))
        assert bounds(events)[1:] == [("cut", 0, 20), ("end", 20, 20)]
        assert events[1].audio is not None
        assert events[2].audio is None

    def test_many_segments_in_one_call(self) -> None:
        audio = script("SSS..." * 300)
        events = session().feed(audio)
        assert len(events) == 600
        for event in events[1::2]:
            assert np.array_equal(event.audio, audio[0, event.start_pos : event.end_pos])  # type: ignore[arg-type]

    def test_larger_than_the_ring(self) -> None:
        audio = script("S" * 5000)
        events = session(max_segment_samples=50).feed(audio)
        assert sum(len(e.audio) for e in events if e.audio is not None) == 50_000

    @pytest.mark.parametrize("seconds", [0, 1])
    def test_of_an_open_segment_can_be_read(self, seconds: int) -> None:
        # 0: calls so short that the GIL is kept; 1: calls that release it.
        vad = session(interim_samples=20, prefix_samples=5, max_segment_samples=100_000)
        vad.feed(script("." * (seconds * 1600)))
        at = seconds * 16000
        audio = script("..SSS")
        events = vad.feed(audio[:, :-3])
        assert bounds(events) == [("start", at + 15, at + 30), ("interim", at + 15, at + 40)]
        assert np.array_equal(vad.read(0, at + 15, at + 40), audio[0, 15:40])
        assert np.array_equal(vad.read(0, at + 15, vad.received_pos), audio[0, 15:47])
        with pytest.raises(IndexError):
            vad.read(0, at + 4, at + 40)
        with pytest.raises(IndexError):
            vad.read(0, at + 15, at + 48)

    def test_prefix_is_there_after_hours(self) -> None:
        vad = session(prefix_samples=35)
        silence = np.zeros((1, 100_000), np.float32)
        for _ in range(20):
            vad.feed(silence)
        audio = script("....SS...")
        start, end = vad.feed(audio)
        assert (start.start_pos, end.end_pos) == (2_000_005, 2_000_060)
        assert end.audio is not None
        assert np.array_equal(end.audio, audio[0, 5:60])


class TestChunking:
    FRAMES = "..SS.S~~...S.~S......SSSSSSSSSSSSSSSSS.SSS....~~SS"

    @pytest.mark.parametrize("size", [1, 3, F - 1, F, F + 1, 7 * F - 1, 7 * F, 7 * F + 1])
    def test_invisible(self, size: int) -> None:
        audio = script(self.FRAMES)[:, :-4]
        options: dict[str, Any] = {
            "prefix_samples": 17,
            "suffix_samples": 3,
            "interim_samples": 25,
            "max_segment_samples": 60,
        }
        whole = session(**options)
        expected = plain(whole.feed(audio) + whole.finish())
        cut = session(**options)
        assert plain(feed_cut(cut, audio, range(size, audio.shape[1], size)) + cut.finish()) == expected
        assert {kind for kind, *_ in expected} == {"start", "end", "cut", "interim"}

    def test_empty_chunks_mean_nothing(self) -> None:
        vad = session()
        assert vad.feed(np.zeros((1, 0), np.float32)) == []
        assert bounds(vad.feed(script("S"))) == [("start", 0, 10)]

    def test_rows_of_a_larger_array_and_other_layouts(self) -> None:
        audio = np.concatenate([script("SSS...", 1), script("..SS...."[:6], 2)])
        expected = plain(session(2).feed(audio))
        wide = np.zeros((2, 200), np.float32)
        wide[:, 50:110] = audio
        mirrored = np.ascontiguousarray(audio[:, ::-1])[:, ::-1]
        interleaved = np.ascontiguousarray(audio.T).T
        swapped = audio.astype(audio.dtype.newbyteorder())
        frozen = audio.copy()
        frozen.flags.writeable = False
        unaligned = np.frombuffer(b"x" + audio.tobytes(), np.uint8)[1:].view(np.float32).reshape(audio.shape)
        upside_down = np.ascontiguousarray(audio[::-1])[::-1]
        for other in (wide[:, 50:110], mirrored, interleaved, swapped, frozen, unaligned, upside_down):
            assert plain(session(2).feed(other)) == expected


class TestChannels:
    def test_events_in_audio_order_then_channel_order(self) -> None:
        audio = np.concatenate([script("..SS...", 1), script("S....SS", 2), script("..SS...", 3)])
        events = session(3).feed(audio)
        assert [(e.channel, KINDS[e.kind], e.start_pos) for e in events] == [
            (1, "start", 0),
            (0, "start", 20),
            (2, "start", 20),
            (1, "end", 0),
            (1, "start", 50),
            (0, "end", 20),
            (2, "end", 20),
        ]
        for event in events:
            if event.audio is not None:
                assert np.array_equal(event.audio, audio[event.channel, event.start_pos : event.end_pos])

    def test_state_of_each(self) -> None:
        vad = session(2)
        vad.feed(np.concatenate([script("S~"), script(".S")]))
        assert (vad.speaking(0), vad.speaking(1)) == (True, True)
        assert (vad.last_probability(0), vad.last_probability(1)) == (pytest.approx(0.4), 1.0)
        for call in (vad.speaking, vad.last_probability, lambda c: vad.read(c, 0, 1)):
            for channel in (-1, 2):
                with pytest.raises(IndexError, match=r"channel must be within 0\.\.1"):
                    call(channel)

    def test_flush_and_finish_close_all_of_them(self) -> None:
        vad = session(2)
        vad.feed(np.concatenate([script("SS"), script(".S")]))
        assert [(e.channel, e.start_pos, e.end_pos) for e in vad.flush()] == [(0, 0, 20), (1, 10, 20)]


class TestFlush:
    def test_amid_a_frame_gives_all_audio_received(self) -> None:
        vad = session(prefix_samples=100)
        audio = script("SSSSSS...")
        vad.feed(audio[:, :34])
        (end,) = vad.flush()
        assert (end.kind, end.start_pos, end.end_pos) == (SPEECH_END, 0, 34)
        assert np.array_equal(end.audio, audio[0, :34])  # type: ignore[arg-type]
        assert vad.flush() == []
        rest = vad.feed(audio[:, 34:])
        assert bounds(rest) == [("start", 34, 40), ("end", 34, 60)]
        assert np.array_equal(rest[1].audio, audio[0, 34:60])  # type: ignore[arg-type]

    def test_before_any_audio(self) -> None:
        assert session().flush() == []


class TestFinish:
    def test_without_audio(self) -> None:
        vad = session()
        assert vad.finish() == []
        assert vad.finish() == []

    def test_looks_at_the_last_partial_frame(self) -> None:
        vad = session()
        audio = script("..S")[:, :21]
        assert vad.feed(audio) == []
        events = vad.finish()
        assert bounds(events) == [("start", 20, 21), ("end", 20, 21)]
        assert np.array_equal(events[1].audio, audio[0, 20:])  # type: ignore[arg-type]

    def test_fills_up_with_zeros(self) -> None:
        seen: list[Audio] = []

        class Keeper:
            def probability(self, frame: Audio) -> float:
                seen.append(frame)
                return 0.0

        vad = session(2, Keeper)
        audio = np.full((2, 13), 0.5, np.float32)
        vad.feed(audio)
        vad.finish()
        assert [frame.tolist() for frame in seen[2:]] == [[0.5] * 3 + [0.0] * 7] * 2

    def test_no_event_beyond_the_audio(self) -> None:
        vad = session(suffix_samples=100, silence_samples=0)
        vad.feed(script("S.")[:, :14])
        assert bounds(vad.finish()) == [("end", 0, 14)]

    def test_drops_a_candidate_too_short(self) -> None:
        vad = session(min_speech_samples=14)
        vad.feed(script("SS")[:, :13])
        assert vad.finish() == []

    def test_is_the_end_until_reset(self) -> None:
        vad = session(prefix_samples=100)
        vad.feed(script("..SS"))
        assert bounds(vad.finish()) == [("end", 0, 40)]
        assert vad.finish() == []
        assert vad.flush() == []
        with pytest.raises(RuntimeError, match=r"feed\(\) after finish\(\)"):
            vad.feed(script("S"))
        vad.reset()
        assert vad.received_pos == 0
        assert bounds(vad.feed(script(".S...."))) == [("start", 0, 20), ("end", 0, 20)]


class TestReset:
    def test_forgets_a_partial_frame_and_open_segments(self) -> None:
        vad = session(prefix_samples=100)
        vad.feed(script("SS")[:, :17])
        vad.reset()
        assert not vad.speaking(0)
        assert vad.last_probability(0) == 0.0
        assert vad.finish() == []
        vad.reset()
        assert bounds(vad.feed(script(".S"))) == [("start", 0, 20)]

    def test_forgets_what_the_detector_heard(self) -> None:
        class Latch:
            """Speech for ever, once there was some."""

            heard = False

            def probability(self, frame: Audio) -> float:
                self.heard = self.heard or frame[0] >= 0.5
                return float(self.heard)

        vad = session(2, Latch)
        speech = np.concatenate([script("S."), script(".S")])
        assert len(vad.feed(speech)) == 2
        vad.reset()
        assert vad.feed(np.zeros((2, 50), np.float32)) == []


class Fragile:
    """Fails when the script says so: a first sample of 2 or more."""

    def probability(self, frame: Audio) -> float:
        if frame[0] >= 2:
            raise OSError("the detector broke")
        return abs(float(frame[0]))


class TestFailure:
    def test_passes_out_and_leaves_what_was_heard(self) -> None:
        vad = session(2, Fragile)
        audio = np.concatenate([script("SS...SSSS"), script("S" * 9)])
        audio[1, 70] = 2
        with pytest.raises(OSError, match="the detector broke"):
            vad.feed(audio)
        assert vad.received_pos == 80
        with pytest.raises(RuntimeError, match=r"feed\(\) after a failure"):
            vad.feed(audio)
        events = vad.finish()
        assert [(e.channel, *b) for e, b in zip(events, bounds(events), strict=True)] == [
            (0, "start", 0, 10),
            (1, "start", 0, 10),
            (0, "end", 0, 20),
            (0, "start", 50, 60),
            (0, "end", 50, 80),
            (1, "end", 0, 80),
        ]
        assert np.array_equal(events[-1].audio, audio[1, :80])  # type: ignore[arg-type]
        vad.reset()
        assert bounds(vad.feed(np.concatenate([script("S"), script(".")]))) == [("start", 0, 10)]

    def test_in_the_last_frame(self) -> None:
        vad = session(1, Fragile)
        audio = script("SS")[:, :15]
        audio[0, 10] = 2
        vad.feed(audio)
        with pytest.raises(OSError, match="the detector broke"):
            vad.finish()
        assert bounds(vad.finish()) == [("end", 0, 15)]

    def test_a_probability_that_is_none_is_an_error(self) -> None:
        vad = session()
        audio = script("S")
        audio[0, 0] = 1.5
        with pytest.raises(ValueError, match=r"within 0\.\.1"):
            vad.feed(audio)

    def test_without_the_gil(self) -> None:
        vad = session(1, Fragile)
        audio = np.zeros((1, 100_000), np.float32)
        audio[0, 90_000] = 2
        with pytest.raises(OSError, match="the detector broke"):
            vad.feed(audio)
        assert vad.received_pos == 90_010

    @pytest.mark.parametrize("n_frames", [1, 2000])
    def test_one_caller_at_a_time(self, n_frames: int) -> None:
        refused: list[str] = []

        class Intruder:
            def probability(self, frame: Audio) -> float:
                for call in (
                    lambda: vad.feed(script("S")),
                    vad.flush,
                    vad.finish,
                    vad.reset,
                    lambda: vad.read(0, 0, 1),
                ):
                    with pytest.raises(RuntimeError, match="one caller at a time") as raised:
                        call()
                    refused.append(str(raised.value))
                return 0.0

        vad = session(1, Intruder)
        vad.feed(script("." * n_frames))
        assert len(refused) == 5 * n_frames
        assert vad.flush() == []


class TestArguments:
    @pytest.mark.parametrize(
        ("planes", "error", "message"),
        [
            (np.zeros(5, np.float32), ValueError, r"\(2, samples\), got \(5,\)"),
            (np.zeros((1, 5), np.float32), ValueError, r"\(2, samples\), got \(1, 5\)"),
            (np.zeros((2, 5, 1), np.float32), ValueError, r"got \(2, 5, 1\)"),
            (np.zeros((2, 5), np.int16), TypeError, "float32 array, got int16"),
            (np.zeros((2, 5)), TypeError, "float32 array, got float64"),
            ([[0.0], [0.0]], TypeError, "float32 array, got list"),
            (None, TypeError, "got NoneType"),
        ],
    )
    def test_wrong_planes_are_refused_and_change_nothing(
        self, planes: Any, error: type[Exception], message: str
    ) -> None:
        vad = session(2)
        with pytest.raises(error, match=message):
            vad.feed(planes)
        assert vad.received_pos == 0
        assert vad.feed(np.zeros((2, 3), np.float32)) == []

    def test_frame_of_config_and_detector_must_agree(self) -> None:
        with pytest.raises(ValueError, match=r"frame_samples must be 10, the detector's, got 11"):
            VadSession(CallableDetector(FirstSample, 1, 10, 16000), EndpointConfig(11))

    def test_no_detector(self) -> None:
        with pytest.raises(TypeError):
            VadSession(None, EndpointConfig(10))  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            VadSession(CallableDetector(FirstSample, 1, 10, 16000), None)  # type: ignore[arg-type]

    def test_a_session_cannot_be_pickled(self) -> None:
        with pytest.raises(TypeError, match="belongs to one stream"):
            pickle.dumps(session())


def test_memory_is_bounded_and_given_back() -> None:
    vad = session(2, prefix_samples=600, max_segment_samples=50_000)
    idle = np.full((2, 1000), 0.1, np.float32)
    for _ in range(50):
        vad.feed(idle)
    held = vad.nbytes
    assert held < 2 * 4 * 10_000
    for _ in range(120):
        vad.feed(np.full((2, 1000), 0.9, np.float32))
    assert vad.nbytes < 2 * 4 * (50_000 + 600 + 2 * F) * 1.5
    vad.flush()
    for _ in range(50):
        vad.feed(idle)
    assert vad.nbytes <= held + 1024


def test_memory_of_many_events_is_given_back() -> None:
    vad = session()
    vad.feed(script("S"))
    held = vad.nbytes
    vad.feed(script("S..." * 2000))
    assert vad.nbytes <= held + 4096


def test_events_are_not_kept_alive_by_a_dropped_session() -> None:
    """A failed session owns the audio of events nobody fetched; dropping it must free them (the sanitizer run
    looks)."""
    vad = session(1, Fragile)
    audio = script("SS...SS...S")
    audio[0, 100] = 2
    with pytest.raises(OSError, match="the detector broke"):
        vad.feed(audio)
    del vad
    gc.collect()


def test_sessions_on_many_threads_give_the_serial_result() -> None:
    audio = [script("..SS.S~~...S.~S......SSSSSSSS" * 40, seed) for seed in range(4)]
    expected = [plain(session(prefix_samples=12, max_segment_samples=60).feed(a)) for a in audio]
    got: dict[int, list[Any]] = {}

    def work(index: int) -> None:
        vad = session(prefix_samples=12, max_segment_samples=60)
        got[index] = plain(feed_cut(vad, audio[index], range(0, audio[index].shape[1], 333)))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[index] for index in range(4)] == expected


@pytest.mark.parametrize(("seconds", "n_chunks", "gives_it_away"), [(300.0, 200, True), (0.5, 20_000, False)])
def test_gil_is_given_away_for_long_chunks_only(seconds: float, n_chunks: int, gives_it_away: bool) -> None:
    """With an endless switch interval another thread runs only if feed itself gives the GIL away."""
    vad = VadSession(EnergyDetector(1), EndpointConfig(320))
    chunk = np.zeros((1, round(16_000 * seconds)), np.float32)
    fed, other_ran, seen = threading.Event(), [], []

    def work() -> None:
        fed.set()  # wakes the other thread, which then waits for the GIL
        for _ in range(n_chunks):
            vad.feed(chunk)
            if other_ran:
                break
        seen.extend(other_ran)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        fed.wait()
        other_ran.append(True)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert bool(seen) == gives_it_away


def verdict(channel: int, end_pos: int) -> int:
    return (channel + end_pos) % 3 - 1


def answered(vad: VadSession, events: list[VadEvent]) -> list[VadEvent]:
    """With the events that follow once every question has its answer."""
    told, events = list(events), list(events)
    while vad.waits_for_answer:
        questions = [event for event in events if event.kind == QUESTION]
        pos = questions[-1].end_pos
        events = []
        for question in questions:
            if question.end_pos == pos:
                events += vad.answer(question.channel, verdict(question.channel, pos))
        events += vad.feed(np.empty((vad.channels, 0), np.float32))
        told += events
    return told


@settings(max_examples=250, deadline=None)
@given(
    rules(),
    st.lists(st.tuples(st.sampled_from([0.0, 0.4, 1.0]), st.integers(1, 60)), min_size=1, max_size=14),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["flush", "flush", "clear"])), max_size=3),
    st.data(),
)
def test_like_the_textbook(
    rules: ref.Rules,
    runs: list[tuple[float, int]],
    channels: int,
    flushes: list[tuple[int, str]],
    data: st.DataObject,
) -> None:
    # Levels change anywhere, not at frame edges; every sample has its own tiny part, so that a shifted copy is seen.
    levels = np.concatenate([np.full(n, level, np.float32) for level, n in runs])
    n = len(levels)
    audio = np.stack([np.roll(levels, 7 * c) for c in range(channels)])
    audio = np.minimum(audio + np.arange(n, dtype=np.float32) * 1e-6, 1.0).astype(np.float32)
    flushes = sorted((min(position, n), what) for position, what in flushes)
    cuts = data.draw(st.one_of(st.just(list(range(n))), st.lists(st.integers(0, n), max_size=12)), label="cuts")

    twin = ref.Session(channels, rules, lambda _channel, frame: float(frame[0]), verdict)
    vad = VadSession(
        CallableDetector(FirstSample, channels, rules.frame_samples, 16000), EndpointConfig(**asdict(rules))
    )
    expected, got, at = [], [], 0
    for position, what in flushes:
        expected += twin.feed(audio[:, at:position]) + getattr(twin, what)()
        inner = [cut - at for cut in cuts if at < cut < position]
        got += feed_cut(vad, audio[:, at:position], inner, answered) + getattr(vad, what)()
        at = position
    expected += twin.feed(audio[:, at:]) + twin.finish()
    got += feed_cut(vad, audio[:, at:], [cut - at for cut in cuts if at < cut], answered) + vad.finish()
    assert plain(got) == [
        (kind, channel, start, end, None if samples is None else samples.tobytes())
        for kind, channel, start, end, samples in expected
    ]
    assert vad.received_pos == n


class TestOneCallerAtATime:
    """A call is one from its first look at the arguments to its last event: NumPy lets the GIL go when it copies, and
    what is allocated may start the garbage collector."""

    def test_while_the_audio_is_copied(self) -> None:
        planes = np.asfortranarray(np.random.default_rng(0).uniform(-0.1, 0.1, (2, 400_000)).astype(np.float32))
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(10):
                stream = VadSession(EnergyDetector(2), EndpointConfig(320, max_segment_samples=48_000))
                outcomes: list[bool] = []
                start = threading.Barrier(2)

                def feed(stream: Any = stream, outcomes: Any = outcomes, start: Any = start) -> None:
                    start.wait(30)
                    try:
                        stream.feed(planes)
                        outcomes.append(True)
                    except RuntimeError:
                        outcomes.append(False)

                threads = [threading.Thread(target=feed) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(30)
                assert len(outcomes) == 2
                assert stream.received_pos == 400_000 * sum(outcomes)
        finally:
            sys.setswitchinterval(interval)

    def test_while_events_are_made(self) -> None:
        stream = session(max_segment_samples=F)
        refused: list[RuntimeError] = []

        def collector(phase: str, info: dict[str, int]) -> None:
            try:
                stream.flush()
            except RuntimeError as error:
                refused.append(error)

        threshold = gc.get_threshold()
        audio = script("S" * 2000)
        gc.collect()
        gc.callbacks.append(collector)
        gc.set_threshold(300)
        try:
            events = stream.feed(audio)
        finally:
            gc.callbacks.remove(collector)
            gc.set_threshold(*threshold)
        if sys.version_info < (3, 12):  # later ones collect between bytecodes only
            assert refused
        assert sum(event.kind == SPEECH_CUT and event.audio is not None for event in events) == 2000

    def test_while_the_detector_is_made_anew(self) -> None:
        streams: list[VadSession] = []
        errors: list[RuntimeError] = []

        def factory() -> FirstSample:
            if streams:
                try:
                    streams[0].feed(script("S"))
                except RuntimeError as error:
                    errors.append(error)
                raise OSError("no more detectors")
            return FirstSample()

        stream = session(detector=factory)
        stream.feed(script("S"))
        streams.append(stream)
        with pytest.raises(OSError, match="no more"):
            stream.reset()
        assert len(errors) == 1
        with pytest.raises(RuntimeError, match="after a failure"):  # the detector still knows the old stream
            stream.feed(script("S"))


class TestQuestions:
    def asked(self, text: str = "SS....", channels: int = 1) -> VadSession:
        vad = session(channels=channels, turn_samples=2 * F, silence_samples=4 * F)
        events = vad.feed(np.concatenate([script(text)] * channels))
        assert [event.kind for event in events if event.kind == QUESTION] == [QUESTION] * channels
        assert vad.waits_for_answer
        return vad

    def test_it_stands_still_at_the_frame_that_asked(self) -> None:
        vad = self.asked()
        assert vad.received_pos == 6 * F
        assert vad.feed(script("SSSS")) == []
        assert bounds(vad.answer(0, 1)) == [("end", 0, 2 * F)]
        assert not vad.waits_for_answer
        assert bounds(vad.feed(script(""))) == [("start", 6 * F, 7 * F)]

    def test_a_question_has_the_audio_of_the_segment_so_far(self) -> None:
        vad = session(turn_samples=2 * F, turn_window_samples=25)
        audio = script("SS....")
        question = vad.feed(audio)[-1]
        assert question.audio is not None
        assert question.audio.tobytes() == audio[0, 4 * F - 25 : 4 * F].tobytes()

    def test_all_channels_wait_for_all_answers(self) -> None:
        vad = self.asked(channels=2)
        assert bounds(vad.answer(1, 1)) == [("end", 0, 2 * F)]
        assert vad.waits_for_answer
        assert vad.feed(np.concatenate([script("S")] * 2)) == []
        assert vad.answer(0, 0) == []
        events = vad.feed(np.empty((2, 0), np.float32))
        assert [(KINDS[event.kind], event.channel) for event in events] == [("end", 0), ("start", 0), ("start", 1)]

    @pytest.mark.parametrize("what", ["flush", "finish"])
    def test_an_end_does_not_wait(self, what: str) -> None:
        vad = self.asked()
        assert bounds(getattr(vad, what)()) == [("end", 0, 2 * F)]
        assert not vad.waits_for_answer

    def test_a_clear_does_not_wait(self) -> None:
        vad = self.asked("SS...")
        assert vad.clear() == []
        assert not vad.waits_for_answer
        assert vad.feed(script("..")) == []

    def test_an_answer_needs_a_question(self) -> None:
        vad = self.asked()
        with pytest.raises(IndexError):
            vad.answer(1, 1)
        vad.answer(0, 0)
        with pytest.raises(ValueError, match="no question of channel 0 is open"):
            vad.answer(0, 1)

    def test_a_reset_forgets_it(self) -> None:
        vad = self.asked()
        vad.reset()
        assert not vad.waits_for_answer
        assert bounds(vad.feed(script("S"))) == [("start", 0, F)]
