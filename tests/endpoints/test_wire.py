"""What every wire has unless it says otherwise."""

from __future__ import annotations

from types import SimpleNamespace

from voxgate.config import load_config
from voxgate.endpoints.native import NativeWire
from voxgate.endpoints.wire import CLOSE_CODES, invalid_request, min_silence_ms, why_no_words
from voxgate.errors import InvalidStart
from voxgate.protocol.closing import Close, CloseReason
from voxgate.service.admission import Refusal, RefusalKind


def test_the_end_of_a_stream():
    wire = NativeWire()
    assert set(CLOSE_CODES) == set(CloseReason)
    close = Close(CloseReason.TIMEOUT, "timeout")
    assert (wire.code_of(close), wire.reason_of(close), wire.farewell(close)) == (1008, "timeout", ())
    assert (wire.start, wire.headers, wire.greeting) == (None, (), ())


def test_a_request_that_cannot_be_served():
    refusal = invalid_request(InvalidStart("x: expected 1"))
    assert refusal == Refusal(RefusalKind.INVALID, "invalid_request", "x: expected 1")
    answer = NativeWire.refuse(refusal, "id")
    assert (answer.status, answer.body) == (400, {"error": "x: expected 1", "code": "invalid_request"})


def test_the_shortest_silence_is_the_servers_own_unless_it_is_set():
    assert min_silence_ms(load_config(environ={}, overrides={"vad.silence_duration_ms": 700})) == 700
    overrides = {"vad.silence_duration_ms": 700, "endpoints.min_silence_ms": 200}
    assert min_silence_ms(load_config(environ={}, overrides=overrides)) == 200


def test_models_without_a_text():
    model = SimpleNamespace(name="pitch")
    assert why_no_words(SimpleNamespace(gives_text=True, model=model)) is None
    assert why_no_words(SimpleNamespace(gives_text=None, model=model)) is None
    text = "model 'pitch' answers without a text, and this API carries words"
    assert why_no_words(SimpleNamespace(gives_text=False, model=model)) == text
