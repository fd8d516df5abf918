from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from helpers.json_machine import receive
from voxgate.config import LimitsSettings
from voxgate.errors import InternalError, InvalidStart, Unauthorized
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.machine import (
    Action,
    Audio,
    CheckToken,
    Clear,
    FinishSession,
    Flush,
    OpenSession,
    Reply,
    SessionMachine,
)
from voxgate.protocol.requests import Start, Stop, TurnOptions, VadOptions
from voxgate.vad.turns import TurnConfig

LIMITS = LimitsSettings(invalid_messages=3)
S16 = AudioFormat(1, 16000, 16, False)
F32 = AudioFormat(2, 48000, 32, True)


class Vad:
    """Settings that take a threshold up to 0.99, as the real ones do."""

    def merged(self, options: VadOptions) -> Vad:
        if options.threshold is not None and not 0.01 <= options.threshold <= 0.99:
            raise InvalidStart(f"vad.threshold must be 0.01..0.99, got {options.threshold}")
        return self


def make(**limits: Any) -> SessionMachine:
    return SessionMachine(LimitsSettings(**{"invalid_messages": 3, **limits}), Vad(), "segmented")


def start(format: AudioFormat = S16, **fields: Any) -> str:
    names = ("channels", "sample_rate", "bit_depth", "is_float")
    return json.dumps({"request": "start", "format": {name: getattr(format, name) for name in names}, **fields})


STOP = '{"request":"stop","disconnect":false}'
DISCONNECT = '{"request":"stop","disconnect":true}'
FLUSH = '{"request":"flush"}'
CLEAR = '{"request":"clear"}'
KEEP_ALIVE = '{"request":"keep_alive"}'
JUNK = '{"request":"foo"}'
OPEN = OpenSession(Start(S16))

AUDIO_FIRST = Reply(Error("audio before any start: expected a start message first", "not_started"))
STOP_FIRST = Reply(Error("stop before any start: expected a start message first", "not_started"))
CLEAR_FIRST = Reply(Error("clear before any start: expected a start message first", "not_started"))
FLUSH_FIRST = Reply(Error("flush before any start: expected a start message first", "not_started"))
INVALID = Reply(Error('request must be one of start, stop, flush, clear, keep_alive, got "foo"', "invalid_message"))
TOO_MANY = Close(CloseReason.INVALID, "too many invalid messages", "invalid_messages")
BAD_START = start(AudioFormat(9, 16000, 16, False))
BAD_START_REPLY = Reply(Error("format.channels must be 1..8, got 9", "invalid_start"))
BAD_VAD = start(vad={"threshold": 1.5})
BAD_VAD_REPLY = Reply(Error("vad.threshold must be 0.01..0.99, got 1.5", "invalid_start"))

# Every conversation: the messages, and all actions that answer each.
CONVERSATIONS: dict[str, list[tuple[str | bytes, list[Action]]]] = {
    "one session": [(start(), [OPEN]), (b"ab", [Audio(b"ab")]), (b"c", [Audio(b"c")]), (STOP, [FinishSession()])],
    "stop and disconnect": [(start(), [OPEN]), (DISCONNECT, [FinishSession(), Close(CloseReason.COMPLETED)])],
    "a new start after stop": [(start(), [OPEN]), (STOP, [FinishSession()]), (start(F32), [OpenSession(Start(F32))])],
    "audio after stop resumes with the last start": [
        (start(), [OPEN]),
        (start(F32, interim_results=True), [FinishSession(), OpenSession(Start(F32, True))]),
        (STOP, [FinishSession()]),
        (b"a", [OpenSession(Start(F32, True)), Audio(b"a")]),
        (b"b", [Audio(b"b")]),
        (STOP, [FinishSession()]),
    ],
    "start in mid-stream": [
        (start(), [OPEN]),
        (b"a", [Audio(b"a")]),
        (start(F32), [FinishSession(), OpenSession(Start(F32))]),
        (b"a", [Audio(b"a")]),
    ],
    "the same start again in mid-stream": [(start(), [OPEN]), (start(), [FinishSession(), OPEN])],
    "before any start": [
        (b"a", [AUDIO_FIRST]),
        (STOP, [STOP_FIRST]),
        (FLUSH, [FLUSH_FIRST]),
        (CLEAR, [CLEAR_FIRST]),
        (KEEP_ALIVE, []),
        (b"", []),
        (start(), [OPEN]),
    ],
    "stop with disconnect closes before any start": [(DISCONNECT, [Close(CloseReason.COMPLETED)]), (start(), [])],
    "stop with disconnect closes after a bad start": [
        (BAD_START, [BAD_START_REPLY]),
        *[(b"a", [AUDIO_FIRST]), (b"a", []), (b"a", [])],
        (DISCONNECT, [Close(CloseReason.COMPLETED)]),
    ],
    "audio before any start is refused once until the next text message": [
        *[(b"a", [AUDIO_FIRST]), (b"a", []), (b"", []), (b"a", [])],
        *[(KEEP_ALIVE, []), (b"a", [AUDIO_FIRST]), (b"a", [])],
        *[(JUNK, [INVALID]), (b"a", [AUDIO_FIRST]), (b"a", [])],
        *[(start(), [OPEN]), (b"a", [Audio(b"a")])],
    ],
    "flush": [(start(), [OPEN]), (FLUSH, [Flush()]), (FLUSH, [Flush()]), (STOP, [FinishSession()]), (FLUSH, [])],
    "clear": [(start(), [OPEN]), (CLEAR, [Clear()]), (STOP, [FinishSession()]), (CLEAR, [])],
    "stop twice": [
        (start(), [OPEN]),
        (STOP, [FinishSession()]),
        (STOP, []),
        (DISCONNECT, [Close(CloseReason.COMPLETED)]),
    ],
    "keep alive": [(start(), [OPEN]), (KEEP_ALIVE, []), (STOP, [FinishSession()]), (KEEP_ALIVE, [])],
    "empty audio is nothing": [
        (start(), [OPEN]),
        (b"", [Audio(b"")]),
        (STOP, [FinishSession()]),
        (b"", []),
        (STOP, []),
    ],
    "invalid messages are counted over the connection": [
        (JUNK, [INVALID]),
        (start(), [OPEN]),
        (JUNK, [INVALID]),
        (b"a", [Audio(b"a")]),
        (STOP, [FinishSession()]),
        (JUNK, [INVALID, TOO_MANY]),
        (start(), []),
    ],
    "only invalid messages are counted": [
        *[(STOP, [STOP_FIRST]), (b"a", [AUDIO_FIRST])] * 4,
        *[(BAD_START, [BAD_START_REPLY])] * 4,
        *[(JUNK, [INVALID])] * 2,
        (start(), [OPEN]),
    ],
    "a bad start opens nothing": [
        (BAD_START, [BAD_START_REPLY]),
        (b"a", [AUDIO_FIRST]),
        (BAD_VAD, [BAD_VAD_REPLY]),
        (b"a", [AUDIO_FIRST]),
        (start(), [OPEN]),
    ],
    "a bad start leaves the running session alone": [
        (start(), [OPEN]),
        (BAD_START, [BAD_START_REPLY]),
        (b"a", [Audio(b"a")]),
        (BAD_VAD, [BAD_VAD_REPLY]),
        (b"b", [Audio(b"b")]),
        (STOP, [FinishSession()]),
    ],
    "a bad start leaves the last format alone": [
        (start(), [OPEN]),
        (STOP, [FinishSession()]),
        (BAD_START, [BAD_START_REPLY]),
        (b"a", [OPEN, Audio(b"a")]),
    ],
    "nothing after the end": [
        (start(), [OPEN]),
        (DISCONNECT, [FinishSession(), Close(CloseReason.COMPLETED)]),
        (start(), []),
        (b"a", []),
        (b"", []),
        (STOP, []),
        (JUNK, []),
    ],
}


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_conversation(conversation: list[tuple[str | bytes, list[Action]]]) -> None:
    protocol = make()
    for message, actions in conversation:
        assert list(receive(protocol, message)) == actions


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_the_fast_path_gives_the_same_session(conversation: list[tuple[str | bytes, list[Action]]]) -> None:
    protocol = make()
    for message, actions in conversation:
        if isinstance(message, str):
            assert list(receive(protocol, message)) == actions
            continue
        was_open = protocol.open
        result = protocol.receive_audio(message)
        assert (result is None) == was_open
        assert ([Audio(message)] if result is None else list(result)) == actions


def test_the_default_is_eight_invalid_messages() -> None:
    protocol = SessionMachine(LimitsSettings(), Vad())
    for _ in range(7):
        assert receive(protocol, JUNK) == (INVALID,)
    assert not protocol.closed
    assert receive(protocol, JUNK) == (INVALID, TOO_MANY)
    assert protocol.closed


def test_the_limits_are_those_of_the_settings() -> None:
    protocol = make(channels=2, min_sample_rate=8000, max_sample_rate=16000)
    for format, text in [
        (AudioFormat(3, 16000, 16, False), "format.channels must be 1..2, got 3"),
        (AudioFormat(1, 7999, 16, False), "format.sample_rate must be 8000..16000 Hz, got 7999"),
        (AudioFormat(1, 44100, 16, False), "format.sample_rate must be 8000..16000 Hz, got 44100"),
    ]:
        assert receive(protocol, start(format)) == (Reply(Error(text, "invalid_start")),)
    assert receive(protocol, start(AudioFormat(2, 8000, 16, False))) != ()
    assert protocol.open


def test_state_as_the_shell_sees_it() -> None:
    protocol = make()
    assert (protocol.open, protocol.closed, protocol.start, protocol.timeout_kind) == (False, False, None, "start")
    receive(protocol, KEEP_ALIVE)
    receive(protocol, BAD_START)
    assert protocol.timeout_kind == "start"
    receive(protocol, start())
    assert (protocol.open, protocol.closed, protocol.start, protocol.timeout_kind) == (True, False, Start(S16), "idle")
    receive(protocol, STOP)
    assert (protocol.open, protocol.closed, protocol.start, protocol.timeout_kind) == (False, False, Start(S16), "idle")
    receive(protocol, DISCONNECT)
    assert (protocol.open, protocol.closed) == (False, True)


START_TIMEOUT = (Reply(Error("no start within 10 s of connecting", "timeout")), Close(CloseReason.TIMEOUT, "timeout"))
IDLE_TIMEOUT = (Reply(Error("no message within 60 s", "timeout")), Close(CloseReason.TIMEOUT, "timeout"))


def test_start_timeout() -> None:
    protocol = make()
    assert protocol.receive_timeout("start") == START_TIMEOUT
    assert protocol.closed
    assert protocol.receive_timeout("start") == protocol.receive_timeout("idle") == ()


def test_a_start_timeout_that_comes_too_late_does_nothing() -> None:
    protocol = make()
    receive(protocol, start())
    assert protocol.receive_timeout("start") == ()
    receive(protocol, STOP)
    assert protocol.receive_timeout("start") == ()
    assert not protocol.closed


@pytest.mark.parametrize("messages", [[], [start()], [start(), b"a"], [start(), STOP]])
def test_idle_timeout(messages: list[str | bytes]) -> None:
    protocol = make()
    for message in messages:
        receive(protocol, message)
    assert protocol.receive_timeout("idle") == IDLE_TIMEOUT
    assert protocol.closed
    assert not protocol.open


def test_timeouts_name_their_setting() -> None:
    protocol = make(start_timeout_s=0.25, idle_timeout_s=1.5)
    (reply, _) = protocol.receive_timeout("start")
    assert reply == Reply(Error("no start within 0.25 s of connecting", "timeout"))
    (reply, _) = make(idle_timeout_s=1.5).receive_timeout("idle")
    assert reply == Reply(Error("no message within 1.5 s", "timeout"))


def test_unknown_route() -> None:
    with pytest.raises(ValueError, match=r"^route must be one of simple, segmented, stateful, got 'other'$"):
        SessionMachine(LIMITS, Vad(), "other")  # type: ignore[arg-type]
    assert SessionMachine(LIMITS, Vad(), "simple").route == "simple"


def test_a_start_is_passed_on_whole() -> None:
    text = start(interim_results=True, trace_id="00-1", notices=True, token="t", vad={"threshold": 0.7})
    (action,) = receive(make(), text)
    assert action == OpenSession(Start(S16, True, "00-1", VadOptions(threshold=0.7), True, "t"))
    assert "'t'" not in repr(action)


@given(st.lists(st.text(max_size=30) | st.binary(max_size=30), max_size=12))
def test_nothing_a_client_sends_raises(messages: list[str | bytes]) -> None:
    protocol = make()
    for message in messages:
        for action in receive(protocol, message):
            assert isinstance(action, Action)


class Conversation(RuleBasedStateMachine):
    """The machine against a model that a reader can check against the contract line by line."""

    FORMATS: ClassVar = [S16, F32, AudioFormat(1, 8000, 8, False)]

    def __init__(self) -> None:
        super().__init__()
        self.protocol = make()
        self.open: Start | None = None  # the session that is open
        self.last: Start | None = None  # what audio resumes with
        self.n_invalid = 0
        self.audio_refused = False  # since the last text message
        self.closed = False

    def say(self, text: str) -> tuple[Action, ...]:
        self.audio_refused = False
        return receive(self.protocol, text)

    def expect(self, actual: tuple[Action, ...], *expected: Action) -> None:
        assert actual == (() if self.closed else expected)
        if any(isinstance(action, Close) for action in actual):
            assert isinstance(actual[-1], Close)
            self.closed = True
            self.open = None

    @rule(format=st.sampled_from(FORMATS), interim=st.booleans())
    def good_start(self, format: AudioFormat, interim: bool) -> None:
        wanted = Start(format, interim)
        finish = [FinishSession()] if self.open else []
        self.expect(self.say(start(format, interim_results=interim)), *finish, OpenSession(wanted))
        if not self.closed:
            self.open = self.last = wanted

    @rule(bad=st.sampled_from([(BAD_START, BAD_START_REPLY), (BAD_VAD, BAD_VAD_REPLY)]))
    def bad_start(self, bad: tuple[str, Reply]) -> None:
        self.expect(self.say(bad[0]), bad[1])

    @rule(data=st.binary(min_size=1, max_size=4), fast=st.booleans())
    def audio(self, data: bytes, fast: bool) -> None:
        if fast:
            result = self.protocol.receive_audio(data)
            assert (result is None) == (self.open is not None)
            actual = (Audio(data),) if result is None else result
        else:
            actual = receive(self.protocol, data)
        if self.last is None:
            self.expect(actual, *([] if self.audio_refused else [AUDIO_FIRST]))
            self.audio_refused = True
        elif self.open is None:
            self.expect(actual, OpenSession(self.last), Audio(data))
            self.open = None if self.closed else self.last
        else:
            self.expect(actual, Audio(data))

    @rule()
    def empty_audio(self) -> None:
        self.expect(receive(self.protocol, b""), *([Audio(b"")] if self.open else []))

    @rule(disconnect=st.booleans())
    def stop(self, disconnect: bool) -> None:
        actual = self.say(DISCONNECT if disconnect else STOP)
        if self.last is None and not disconnect:
            self.expect(actual, STOP_FIRST)
            return
        finish = [FinishSession()] if self.open else []
        self.expect(actual, *finish, *([Close(CloseReason.COMPLETED)] if disconnect else []))
        self.open = None

    @rule()
    def flush(self) -> None:
        actual = self.say(FLUSH)
        if self.last is None:
            self.expect(actual, FLUSH_FIRST)
        else:
            self.expect(actual, *([Flush()] if self.open else []))

    @rule()
    def clear(self) -> None:
        actual = self.say(CLEAR)
        if self.last is None:
            self.expect(actual, CLEAR_FIRST)
        else:
            self.expect(actual, *([Clear()] if self.open else []))

    @rule()
    def keep_alive(self) -> None:
        self.expect(self.say(KEEP_ALIVE))

    @rule()
    def invalid(self) -> None:
        actual = self.say(JUNK)
        self.n_invalid += not self.closed
        self.expect(actual, INVALID, *([TOO_MANY] if self.n_invalid == 3 else []))

    @rule()
    def refused_by_the_wire(self) -> None:
        close = Close(CloseReason.TOO_LARGE, "message larger than 1024 bytes")
        self.expect(self.protocol.receive_close(close), close)

    @rule()
    def late_start_timeout(self) -> None:
        if self.last is not None:
            self.expect(self.protocol.receive_timeout("start"))

    @invariant()
    def agrees(self) -> None:
        assert self.protocol.open == (self.open is not None)
        assert self.protocol.closed == self.closed
        assert self.protocol.start == self.last
        if not self.closed:
            assert self.protocol.timeout_kind == ("start" if self.last is None else "idle")


Conversation.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestConversation = Conversation.TestCase


# Credentials in start


UNAUTHORIZED = Close(CloseReason.UNAUTHORIZED, "unauthorized")


def make_unauthorized(**limits: Any) -> SessionMachine:
    return SessionMachine(LimitsSettings(**{"invalid_messages": 3, **limits}), Vad(), authorized=False)


def test_a_good_token_opens_the_session_and_is_asked_for_once():
    machine = make_unauthorized()
    assert not machine.authorized
    assert receive(machine, start(token="abc")) == (CheckToken("abc"),)
    assert not machine.open
    assert machine.receive_verdict(None) == (OpenSession(Start(S16, token="abc")),)
    assert machine.authorized
    assert machine.open
    assert machine.receive_audio(b"ab") is None
    assert receive(machine, start()) == (FinishSession(), OPEN)
    assert receive(machine, start(token="other")) == (FinishSession(), OpenSession(Start(S16, token="other")))


def test_a_bad_token_closes():
    machine = make_unauthorized()
    receive(machine, start(token="abc"))
    assert machine.receive_verdict(Unauthorized("bad")) == (Reply(Error("bad", "unauthorized")), UNAUTHORIZED)
    assert machine.closed
    assert receive(machine, start(token="abc")) == ()


def test_a_token_that_could_not_be_checked_closes():
    machine = make_unauthorized()
    receive(machine, start(token="abc"))
    assert machine.receive_verdict(InternalError("not now"))[-1] == Close(CloseReason.INTERNAL, "internal")


@pytest.mark.parametrize("message", [start(), STOP, DISCONNECT, FLUSH, b"ab"])
def test_nothing_comes_before_the_token(message):
    machine = make_unauthorized()
    reply, close = receive(machine, message)
    assert (reply.event.code, close) == ("unauthorized", UNAUTHORIZED)
    assert machine.closed


def test_what_is_harmless_before_the_token():
    machine = make_unauthorized()
    assert receive(machine, KEEP_ALIVE) == receive(machine, b"") == ()
    assert receive(machine, JUNK) == (INVALID,)
    assert receive(machine, start(token="abc")) == (CheckToken("abc"),)


def test_a_good_token_with_a_bad_start_is_not_asked_for_again():
    machine = make_unauthorized()
    assert receive(machine, start(AudioFormat(99, 16000, 16, False), token="abc")) == (CheckToken("abc"),)
    [reply] = machine.receive_verdict(None)
    assert reply.event.code == "invalid_start"
    assert machine.timeout_kind == "start"
    assert receive(machine, start()) == (OPEN,)


def test_a_verdict_that_comes_after_its_time():
    machine = make_unauthorized()
    receive(machine, start(token="abc"))
    assert machine.receive_timeout("start")[-1] == Close(CloseReason.TIMEOUT, "timeout")
    assert machine.receive_verdict(None) == ()
    assert machine.receive_verdict(None) == ()


def test_verdicts_and_questions_take_turns():
    machine = make_unauthorized()
    with pytest.raises(AssertionError):
        machine.receive_verdict(None)
    receive(machine, start(token="abc"))
    with pytest.raises(AssertionError):
        receive(machine, start(token="abc"))


def test_a_token_does_not_show():
    assert "abc" not in repr(CheckToken("abc"))


# --- options of the model ---


def options_of(options):
    if options and "x" not in options:
        raise InvalidStart("options: expected x")
    return ("checked", dict(options or {}))


def test_options_are_checked_before_a_session_opens_and_go_with_audio_that_resumes_it():
    machine = SessionMachine(LIMITS, Vad(), check_options=options_of)
    wrong = machine.receive(Start(S16, options={"y": 1}))
    assert wrong == (Reply(Error("options: expected x", "invalid_start")),)
    assert not machine.open
    good = Start(S16, options={"x": 1})
    opened = OpenSession(good, ("checked", {"x": 1}))
    assert machine.receive(good) == (opened,)
    assert machine.receive(Start(S16, options={"y": 1})) == wrong
    assert machine.open
    machine.receive(Stop())
    assert machine.receive_audio(b"ab") == (opened, Audio(b"ab"))
    assert machine.receive(Start(S16)) == (FinishSession(), OpenSession(Start(S16), ("checked", {})))


def test_options_of_turn_detection_are_checked_before_a_session_opens():
    for turn, message in (
        (TurnConfig("text"), "turn.threshold must be 0.01..1, got 2.0"),
        (TurnConfig(), "turn: the server has no turn detector, expected no turn or turn.enabled = false"),
    ):
        machine = SessionMachine(LIMITS, Vad(), turn=turn)
        wrong = machine.receive(Start(S16, turn=TurnOptions(threshold=2.0)))
        assert wrong == (Reply(Error(message, "invalid_start")),)
        assert not machine.open
        off = Start(S16, turn=TurnOptions(enabled=False))
        assert machine.receive(off) == (OpenSession(off),)


def test_without_a_check_any_option_is_refused():
    machine = SessionMachine(LIMITS, Vad())
    (reply,) = machine.receive(Start(S16, options={"language": "de"}))
    assert reply == Reply(Error('options: the model takes none, got "language"', "invalid_start"))
    assert machine.receive(Start(S16, options={})) == (OpenSession(Start(S16, options={})),)


def test_the_repr_of_a_start_shows_no_values_of_options():
    text = repr(Start(S16, token="secret", options={"prompt": "private"}))
    assert "secret" not in text
    assert "private" not in text
    assert "options=['prompt']" in text
