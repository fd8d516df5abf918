"""Each kind of hostile client by itself: what it is told, and that nothing of it stays."""

from __future__ import annotations

import random
import time

import pytest

import hostile.foreign  # noqa: F401 - more kinds
from helpers.raw import Raw
from helpers.wire import start, stream
from hostile.kinds import KINDS
from hostile.leftovers import held, settle

# The deadlines, short enough to be waited for.
DEADLINES = {
    "limits.handshake_timeout_s": 0.3,
    "limits.message_timeout_s": 0.4,
    "limits.start_timeout_s": 0.5,
    "limits.idle_timeout_s": 0.7,
    "server.send_timeout_s": 1,
}


def count_with_text(audio):
    """Wires that carry words serve it too."""
    return {"count": len(audio), "text": "words"}


@pytest.mark.parametrize("name", KINDS)
def test_what_it_is_told_and_what_stays(serve, name):
    kind = KINDS[name]
    # Where something is said that is looked at, only the deadline that it is about is short: before any other, a busy
    # machine has time for it.
    any_end_will_do = kind.end is None and kind.deadline is None
    short = {key: s for key, s in DEADLINES.items() if any_end_will_do or key.partition(".")[2] == kind.deadline}
    victim = serve(count_with_text, **{"limits.streams_per_address": 1000}, **short)
    before = held(victim)
    with Raw(victim.port, receive_buffer_bytes=4096) as raw:
        kind.attack(raw, random.Random(name))
        if kind.end is not None and kind.end < 1000:
            status = raw.response()[0]
            assert status == kind.end
        elif kind.end is not None:
            raw.rest()
            assert raw.close_code == kind.end
        elif kind.deadline == "handshake_timeout_s":
            assert raw.wait_for_end()[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400", b"HTTP/1.1 431")
        elif kind.deadline == "send_timeout_s":
            settle_streams(victim)
        elif kind.deadline is not None:
            events = raw.rest()
            assert raw.close_code == 1008
            assert events[-1]["code"] == "timeout"
    settle(victim, before)
    assert victim.loop_errors == []
    assert stream(victim.url(), start(), bytes(3200)) == []


def settle_streams(victim) -> None:
    """Waits, without reading, until the server has given the client up."""
    while victim.service.streams:
        time.sleep(0.002)
