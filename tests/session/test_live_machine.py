"""Clients that do anything in any order, on a live server, against what the contract says must come back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from conftest import LiveServer
from helpers.raw import CLOSE, Raw, frame
from helpers.wire import FLUSH, KEEP_ALIVE, PAUSE, STOP, bursts, encode, start
from voxgate import InferenceError, Model
from voxgate._native.event import INTERIM, SPEECH_CUT, SPEECH_END, SPEECH_START
from voxgate._native.session import VadSession
from voxgate.audio.decoder import StreamDecoder
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import VadOptions
from voxgate.runtime import tasks

MESSAGE_BYTES = 16_384
INVALID_MESSAGES = 4
SETTINGS = {
    "limits.message_bytes": MESSAGE_BYTES,
    "limits.invalid_messages": INVALID_MESSAGES,
    "vad.stall_flush_ms": 0,  # the clock has no part in this
    "vad.silence_duration_ms": 100,
    "vad.min_speech_ms": 40,
    "vad.prefix_padding_ms": 60,
    "vad.interim_interval_ms": 60,
    "inference.threads": 2,
}
LOUD = 0.9
MAX_CLIENTS = 3
SETTLE_S = 20


class Count(Model):
    """Good for all routes. Says no to audio that is loud."""

    def infer(self, audio: np.ndarray) -> dict[str, int]:
        if np.abs(audio).max(initial=0) > LOUD:
            raise InferenceError("too loud")
        return {"count": len(audio)}

    def open(self) -> list[int]:
        return [0]

    def step(self, audio: np.ndarray, state: list[int]) -> dict[str, int]:
        state[0] += len(audio)
        return {"count": len(audio)}

    def finish(self, state: list[int]) -> dict[str, int]:
        return {"total": state[0]}


# One second in which somebody speaks twice, the second time too loud; it goes round and round.
TALK = bursts((0.15, 0.4), (0.65, 0.85), length_s=1.0, rate=8000)
TALK[4800:] *= 1 / np.abs(TALK[4800:]).max()
TALK[:4800] *= 0.7 / np.abs(TALK[:4800]).max()

BAD_STARTS: list[dict[str, Any]] = [
    start(channels=9),
    start(sample_rate=300),
    start(vad={"threshold": 2.0}),
    start(vad={"max_segment_s": 0.1}),
]
INVALID = [
    "",
    "nonsense",
    "[]",
    '{"request":"foo"}',
    '{"request":"start"}',
    '{"request":"stop","disconnect":1}',
    "\ud7ff",
]
MODEL_CODES = ("inference_failed", "internal")


routes = st.sampled_from(["segmented", "segmented", "simple", "stateful"])
numbers = st.integers(0, MAX_CLIENTS - 1)
starts = st.builds(
    lambda options, channels, encoding, rate, **more: start(rate, channels, encoding, **more, **options),
    options=st.sampled_from(
        [{}, {"vad": {"silence_duration_ms": 300}}, {"vad": {"max_segment_s": 1}}, {"trace_id": "x"}]
    ),
    channels=st.integers(1, 2),
    encoding=st.sampled_from(["s16", "f32"]),
    rate=st.sampled_from([8000, 16_000, 11_025]),
    interim_results=st.booleans(),
    notices=st.booleans(),
)


@dataclass
class Session:
    """One session as it must have gone: what was sent in it, and what follows from that."""

    route: str
    start: dict[str, Any]
    data: bytes
    server: LiveServer
    sent_bytes: int = 0
    pieces: list[bytes | None] = field(default_factory=list)  # None: a flush

    def take(self, n_bytes: int) -> bytes:
        """The next bytes of the endless recording."""
        offset = self.sent_bytes % len(self.data)
        self.sent_bytes += n_bytes
        piece = (self.data[offset:] + self.data * (n_bytes // len(self.data) + 1))[:n_bytes]
        self.pieces.append(piece)
        return piece

    @property
    def channels(self) -> int:
        return int(self.start["format"]["channels"])

    def expected_samples(self) -> int:
        """Of each channel, at the model's rate."""
        decoder = self._decoder(16_000)
        return sum(decoder.push(piece).shape[1] for piece in self.pieces if piece) + decoder.finish().shape[1]

    def expected_speech(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """What the segmented route must say: (active and inactive, finals and errors), each with its channel."""
        service = self.server.service
        options = VadOptions(**self.start.get("vad", {}))
        decoder, detector = self._decoder(16_000), service.detector.create(self.channels)
        rules = service.vad.merged(options).to_endpoint(
            detector.frame_samples, 16_000, interims=bool(self.start.get("interim_results"))
        )
        session = VadSession(detector, rules)
        events = []
        for piece in self.pieces:
            events += session.flush() if piece is None else session.feed(decoder.push(piece))
        events += [*session.feed(decoder.finish()), *session.finish()]
        edges, results = [], []
        for event in events:
            begin, end = (round(position / 16_000 * 1000) / 1000 for position in (event.start_pos, event.end_pos))
            if event.kind == SPEECH_START:
                edges.append((event.channel, "active", begin))
            if event.kind == SPEECH_END:
                edges.append((event.channel, "inactive", end))
            if event.kind in (SPEECH_END, SPEECH_CUT) and event.audio is not None:
                loud = np.abs(event.audio).max() > LOUD
                results.append((event.channel, "error") if loud else (event.channel, begin, end, len(event.audio)))
            assert event.kind != INTERIM or self.start.get("interim_results")
        return edges, results

    def _decoder(self, rate: int) -> StreamDecoder:
        return StreamDecoder(AudioFormat(**self.start["format"]), rate)


class Talker:
    """One client, and the session machine as its author understood the contract."""

    def __init__(self, server: LiveServer, route: str) -> None:
        self.server, self.route = server, route
        self.client = Raw(server.port).open(f"/api/v1/{route}")
        self.sessions: list[Session] = []
        self.open: Session | None = None
        self.last_start: dict[str, Any] | None = None
        self.codes: list[str] = []  # of the errors that are about messages, in order
        self.n_invalid = 0
        self.audio_refused = False  # since the last text message
        self.close_code: int | None = None  # that the server must send

    def send(self, message: str | bytes | dict[str, Any]) -> None:
        self.audio_refused = self.audio_refused and isinstance(message, bytes)
        assert self.client.say(message) or self.close_code, "closed, and nobody knows why"

    def invalid(self, message: str) -> None:
        self.send(message)
        self.codes.append("invalid_message")
        self.n_invalid += 1
        if self.n_invalid == INVALID_MESSAGES:
            self.close_code, self.open = 1008, None

    def begin(self, message: dict[str, Any]) -> None:
        self.send(message)
        self.last_start = message
        self._new_session()

    def _new_session(self) -> None:
        assert self.last_start is not None
        audio_format = self.last_start["format"]
        channels, encoding = audio_format["channels"], "f32" if audio_format["is_float"] else "s16"
        talk = TALK if self.route == "segmented" else TALK * 0.7
        data = encode(np.stack([talk, talk[::-1]])[:channels], encoding)
        self.open = Session(self.route, self.last_start, data, self.server)
        self.sessions.append(self.open)

    def audio(self, n_bytes: int) -> None:
        if self.last_start is None:
            self.send(b"x")
            if not self.audio_refused:
                self.codes.append("not_started")
            self.audio_refused = True
            return
        if self.open is None:
            self._new_session()
        assert self.open is not None
        self.send(self.open.take(n_bytes))

    def flush(self) -> None:
        self.send(FLUSH)
        if self.last_start is None:
            self.codes.append("not_started")
        elif self.open is not None:
            self.open.pieces.append(None)

    def stop(self, disconnect: bool) -> None:
        self.send(STOP if disconnect else PAUSE)
        if self.last_start is None and not disconnect:
            self.codes.append("not_started")
            return
        self.open = None
        if disconnect:
            self.close_code = 1000

    def too_large(self) -> None:
        self.send(bytes(MESSAGE_BYTES + 1))
        self.close_code, self.open = 1009, None

    def hang_up(self, how: str) -> None:
        """Leaves without a word: nothing is pending, and nothing may stay behind."""
        if how == "reset":
            self.client.reset()
        elif how == "close":
            self.client.send(frame(CLOSE, b"\x03\xe8"))
            self.client.wait_for_end()
        elif how == "half":
            self.client.socket.shutdown(socket.SHUT_WR)
            self.client.wait_for_end()
        self.client.socket.close()

    # What came back

    def check(self) -> None:
        events = self.client.rest()
        assert self.client.close_code == self.close_code, (self.client.close_code, self.close_code, events[-3:])
        for event in events:
            assert isinstance(event["channel"], int)
        messages = [e for e in events if e["type"] == "error" and e["code"] not in MODEL_CODES]
        codes = [event["code"] for event in messages]
        if self.close_code == 1009:
            # The websocket layer throws such a client out without asking what it is still pending.
            assert codes == self.codes[: len(codes)]
        else:
            assert codes == self.codes
        about_audio = [event for event in events if event not in messages]
        if self.close_code == 1000:
            self._check_sessions(about_audio)
            n_notices = sum(bool(session.start.get("notices")) for session in self.sessions)
            for kind in ("started", "finished"):
                assert sum(event["type"] == kind for event in events) == n_notices
        self._check_barriers(events)

    def _check_barriers(self, events: list[dict[str, Any]]) -> None:
        """Between `finished` and the next session's first word, nothing is said."""
        over = False
        for event in events:
            if event["type"] == "finished":
                over = True
                assert event["received_s"] >= event["processed_s"] >= 0
            elif event["type"] == "started":
                over = False
            elif event["type"] == "progress":
                assert event["lag_s"] >= 0
                assert not over

    def _check_sessions(self, events: list[dict[str, Any]]) -> None:
        for channel in range(2):
            mine = [event for event in events if event["channel"] == channel]
            if self.route == "segmented":
                self._check_speech(channel, mine)
            else:
                self._check_all_audio(channel, [event for event in mine if event["type"] in ("segment", "error")])

    def _check_speech(self, channel: int, events: list[dict[str, Any]]) -> None:
        edges, results = [], []
        for session in self.sessions:
            told = session.expected_speech()
            edges += [entry for entry in told[0] if entry[0] == channel]
            results += [entry for entry in told[1] if entry[0] == channel]
        assert [(channel, e["type"], e["time"]) for e in events if e["type"] in ("active", "inactive")] == edges
        came: list[tuple[Any, ...]] = []
        interims: list[dict[str, Any]] = []  # of the segment whose final is still to come
        for event in events:
            if event["type"] == "error":
                came.append((channel, "error"))
                interims.clear()
            elif event["type"] == "segment" and event["is_final"]:
                came.append((channel, event["start_time"], event["end_time"], event["count"]))
                ends = [interim["end_time"] for interim in interims] + [event["end_time"]]
                assert ends == sorted(ends)
                assert {interim["start_time"] for interim in interims} <= {event["start_time"]}
                interims.clear()
            elif event["type"] == "segment":
                interims.append(event)
                assert abs(event["count"] / 16_000 - (event["end_time"] - event["start_time"])) < 0.0011
                assert any(session.start.get("interim_results") for session in self.sessions)
        assert came == results

    def _check_all_audio(self, channel: int, events: list[dict[str, Any]]) -> None:
        remaining: Iterator[dict[str, Any]] = iter(events)
        for session in self.sessions:
            if channel >= session.channels:
                continue
            total = session.expected_samples()
            heard = end_s = 0.0
            while heard < total:
                event = next(remaining)
                assert event["type"] == "segment", event
                assert "is_final" not in event
                assert event["start_time"] == end_s
                end_s = event["end_time"]
                heard += event["count"]
            assert heard == total
            if self.route == "stateful" and total:
                last = next(remaining)
                assert (last["start_time"], last["end_time"], last["total"]) == (end_s, end_s, total)
        assert next(remaining, None) is None


def talking_to(server: LiveServer) -> type[RuleBasedStateMachine]:
    """The machine of one server."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.talkers: list[Talker] = []
            self.all: list[Talker] = []

        def talker(self, number: int) -> Talker:
            return self.talkers[number % len(self.talkers)]

        @initialize(route=routes, message=starts)
        def first(self, route: str, message: dict[str, Any]) -> None:
            self.connect(route, message)

        @precondition(lambda self: len(self.talkers) < MAX_CLIENTS)
        @rule(route=routes, message=st.none() | starts)
        def connect(self, route: str, message: dict[str, Any] | None) -> None:
            self.talkers.append(Talker(server, route))
            self.all.append(self.talkers[-1])
            if message is not None:
                self.talkers[-1].begin(message)

        @precondition(lambda self: self.talkers)
        @rule(who=numbers, message=starts)
        def begin(self, who: int, message: dict[str, Any]) -> None:
            self.talker(who).begin(message)

        @precondition(lambda self: self.talkers)
        @rule(who=numbers, message=st.sampled_from(BAD_STARTS))
        def begin_badly(self, who: int, message: dict[str, Any]) -> None:
            self.talker(who).send(message)
            self.talker(who).codes.append("invalid_start")

        @precondition(lambda self: self.talkers)
        @rule(who=numbers, sizes=st.lists(st.integers(1, MESSAGE_BYTES), min_size=1, max_size=4))
        def audio(self, who: int, sizes: list[int]) -> None:
            for n_bytes in sizes:
                self.talker(who).audio(n_bytes)

        @precondition(lambda self: any(talker.open for talker in self.talkers))
        @rule(size=st.integers(2001, MESSAGE_BYTES), n_messages=st.integers(4, 24))
        def talk(self, size: int, n_messages: int) -> None:
            """All who have a session, so long that something is said."""
            for talker in self.talkers:
                for _ in range(n_messages if talker.open else 0):
                    talker.audio(size)

        @precondition(lambda self: self.talkers)
        @rule(who=numbers)
        def flush(self, who: int) -> None:
            self.talker(who).flush()

        @precondition(lambda self: self.talkers)
        @rule(who=numbers, message=st.sampled_from([json.dumps(KEEP_ALIVE), b""]))
        def nothing(self, who: int, message: str | bytes) -> None:
            self.talker(who).send(message)

        @precondition(lambda self: self.talkers)
        @rule(who=numbers)
        def pause(self, who: int) -> None:
            self.talker(who).stop(disconnect=False)

        @precondition(lambda self: self.talkers)
        @rule(who=numbers)
        def stop(self, who: int) -> None:
            self.talker(who).stop(disconnect=True)
            self.check_closed(who)

        @precondition(lambda self: self.talkers)
        @rule(who=numbers, message=st.sampled_from(INVALID))
        def invalid(self, who: int, message: str) -> None:
            self.talker(who).invalid(message)
            self.check_closed(who)

        @precondition(lambda self: any(len(talker.sessions) > 1 for talker in self.talkers))
        @rule(who=numbers)
        def too_large(self, who: int) -> None:
            self.talker(who).too_large()
            self.check_closed(who)

        @precondition(lambda self: any(talker.sessions for talker in self.talkers))
        @rule(who=numbers, how=st.sampled_from(["close", "half", "gone", "reset"]))
        def hang_up(self, who: int, how: str) -> None:
            talker = self.talkers.pop(who % len(self.talkers))
            talker.hang_up(how)

        def check_closed(self, who: int) -> None:
            if self.talker(who).close_code is not None:
                self.talkers.pop(who % len(self.talkers)).check()

        def teardown(self) -> None:
            try:
                for talker in self.talkers:
                    if talker.last_start is None:
                        talker.hang_up("close")
                    else:
                        talker.stop(disconnect=True)
                        talker.check()
            finally:
                for talker in self.all:
                    talker.client.socket.close()
            settled(server)

    return Machine


def settled(server: LiveServer) -> None:
    """Waits until nothing is left of the clients that are gone."""
    end_s = time.monotonic() + SETTLE_S
    while (left := (server.service.streams, tasks.counts()["connection"].running)) != (0, 0):
        assert time.monotonic() < end_s, f"left behind: {left[0]} streams, {left[1]} tasks"
        time.sleep(0.001)


def failures() -> int:
    """Tasks and threads that have failed so far."""
    return sum(counts.failed for counts in tasks.counts().values())


def test_clients_that_do_anything_in_any_order(serve):
    before = failures()
    server = serve(Count(), **SETTINGS)
    run_state_machine_as_test(
        talking_to(server),
        settings=settings(
            max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert server.loop_errors == []
    assert failures() == before
