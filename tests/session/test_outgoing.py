from __future__ import annotations

import logging
from types import SimpleNamespace

from voxgate.errors import InternalError
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Active, Error, Segment
from voxgate.session.outgoing import messages_of


def encode(event):
    if isinstance(event, Segment):
        raise InternalError('model output: key "n" cannot be sent as JSON')
    return (repr(event),)


ENDPOINT = SimpleNamespace(encode=encode)


def errors_in(tally: Tally) -> dict[str, int]:
    return {label: n for label, n in tally.errors.items() if n}


def test_events_are_encoded_and_errors_counted():
    tally = Tally()
    assert messages_of(Active(1.0), ENDPOINT, tally, "m") == ((repr(Active(1.0)),), False)
    assert errors_in(tally) == {}
    assert messages_of(Error("x", "media_limit"), ENDPOINT, tally, "m") == ((repr(Error("x", "media_limit")),), False)
    assert errors_in(tally) == {"media_limit": 1}


def test_a_result_that_cannot_be_encoded(caplog):
    tally = Tally()
    final, interim = (Segment(0.0, 1.0, is_final, {"n": object()}, 1, 7) for is_final in (True, False))
    with caplog.at_level(logging.ERROR):
        assert messages_of(interim, ENDPOINT, tally, "m") == ((), True)
        error = repr(Error("Internal server error", "internal", 1, 7))
        assert messages_of(final, ENDPOINT, tally, "m") == ((error,), True)
    assert errors_in(tally) == {"internal": 1}
    assert caplog.text.count("model 'm': a result cannot be sent") == 2
