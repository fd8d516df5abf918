"""Each kind of hostile client by itself: what it is told, and that nothing of it stays."""

from __future__ import annotations

import random
import time

import pytest

pytest.importorskip("grpc")

import hostile.foreign
import hostile.grpc_kinds  # noqa: F401 - more kinds
from helpers.grpc_client import stream as grpc_stream
from helpers.http2 import end_of
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
    grpc = {"grpc.port": 0} if kind.grpc else {}
    victim = serve(count_with_text, **{"limits.streams_per_address": 1000}, **short, **grpc)
    if kind.grpc:
        # The library keeps some descriptors from the first call on.
        grpc_stream(victim.server.grpc_port, start(), bytes(3200))
    before = held(victim)
    with Raw(victim.server.grpc_port or victim.port, receive_buffer_bytes=4096) as raw:
        kind.attack(raw, random.Random(name))
        if kind.grpc and kind.end is not None:
            assert end_of(raw) == kind.end
        elif kind.grpc and kind.deadline in ("start_timeout_s", "idle_timeout_s"):
            assert end_of(raw) == "status"
        elif kind.grpc and kind.deadline == "handshake_timeout_s":
            assert end_of(raw) == "goaway Did not receive HTTP/2 settings before handshake timeout"
        elif isinstance(kind.end, int) and kind.end < 1000:
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
    if kind.grpc:
        assert grpc_stream(victim.server.grpc_port, start(), bytes(3200)) == []
    assert stream(victim.url(), start(), bytes(3200)) == []


def settle_streams(victim) -> None:
    """Waits, without reading, until the server has given the client up."""
    while victim.service.streams:
        time.sleep(0.002)
