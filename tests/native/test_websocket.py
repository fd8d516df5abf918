"""FrameReceiver: every rule of RFC 6455, at every place where a read may end, against the library as the oracle."""

from __future__ import annotations

import base64
import gc
import json
import threading
from array import array
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from helpers.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from voxgate._native.text_audio import TextAudio
from voxgate._native.websocket import (
    NO_STATUS,
    READ_BYTES,
    TURN_BYTES,
    TURN_FRAMES,
    VIOLATION,
    FrameReceiver,
    ReadBuffer,
    build_close,
    build_frame,
)
from voxgate.server.closing import FrameSkipper

MAX_BYTES = 70_000
MAX_FRAGMENTS = 5
MANY = 1 << 40
BUFFER = ReadBuffer()
MASK = bytes([0x37, 0xFA, 0x21, 0x3D])


def masked(wire: bytes) -> bytes:
    """A frame of `raw.frame`, whose key is all zeros, with a key that changes its payload."""
    head = {126: 4, 127: 10}.get(wire[1] & 127, 2)
    payload = bytes(byte ^ MASK[k & 3] for k, byte in enumerate(wire[head + 4 :]))
    return wire[:head] + MASK + payload


class Client(FrameReceiver):
    """Takes every event at once, with no limit on a turn."""

    def __init__(self, listener: Any = None, max_bytes: int = MAX_BYTES, n_frames: int = MANY) -> None:
        self.set_up(BUFFER, max_bytes=max_bytes, max_fragments=MAX_FRAGMENTS, n_frames=n_frames)
        self.events: list[tuple[Any, ...]] = []
        self.n_rests = 0
        self.listener = listener
        self.is_held = False

    def on_input(self) -> None:
        while not self.is_held and (self.pending_bytes or self.has_event):
            event = self.poll()
            if event is not None:
                self.events.append(event)
                if self.is_stopped:
                    return
            elif self.turn_is_over:
                self.begin_turn()
            elif self.n_frames_left <= 0:
                return

    def on_rest(self) -> None:
        self.n_rests += 1

    def read(self, data: bytes) -> None:
        """As an event loop does."""
        for begin in range(0, len(data), READ_BYTES):
            piece = data[begin : begin + READ_BYTES]
            self.get_buffer(-1)[: len(piece)] = piece
            self.buffer_updated(len(piece))


def events_of(*reads: bytes, **options: Any) -> list[tuple[Any, ...]]:
    client = Client(**options)
    for read in reads:
        client.read(read)
    return client.events


def test_the_examples_of_the_rfc():
    """Section 5.7."""
    hello = bytes([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    ping = bytes([0x89, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    assert events_of(hello, ping) == [(TEXT, "Hello"), (PING, b"Hello")]
    assert build_frame(TEXT, "Hello") == bytes([0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
    assert build_frame(BINARY, bytes(256))[:4] == bytes([0x82, 0x7E, 0x01, 0x00])
    assert build_frame(BINARY, bytes(65_536))[:10] == bytes([0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0])


# What a client must not send, in every situation, cut everywhere

CONTEXTS = {
    "at first": (b"", []),
    "behind a message": (masked(frame(BINARY, b"before")), [(BINARY, b"before")]),
    "behind a text": (masked(frame(TEXT, "é".encode())), [(TEXT, "é")]),
    "behind a ping": (masked(frame(PING, b"?")), [(PING, b"?")]),
    "behind a pong": (masked(frame(PONG, b"!")), []),
    "in a message": (masked(frame(BINARY, b"half", fin=False)), []),
    "in a text": (masked(frame(TEXT, b"half", fin=False)) + masked(frame(CONTINUATION, b" of", fin=False)), []),
    "behind a ping in a message": (frame(BINARY, b"", fin=False) + masked(frame(PING, b"?")), [(PING, b"?")]),
    "behind fragments": (frame(BINARY, b"a", fin=False) + masked(frame(CONTINUATION, b"b")), [(BINARY, b"ab")]),
}
INSIDE = ("in a message", "in a text", "behind a ping in a message")
OPEN_BYTES = {"in a message": 4, "in a text": 7, "behind a ping in a message": 0}

ANYWHERE = {
    **{f"opcode {opcode}": (frame(opcode, b"abc"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"reserved {bits}": (frame(PING, b"abc", reserved=bits), 1002) for bits in range(1, 8)},
    "unmasked ping": (frame(PING, b"abc", masked=False), 1002),
    "unmasked close": (frame(CLOSE, b"", masked=False), 1002),
    "fragmented ping": (frame(PING, b"abc", fin=False), 1002),
    "fragmented pong": (frame(PONG, b"", fin=False), 1002),
    "fragmented close": (frame(CLOSE, b"", fin=False), 1002),
    "long ping": (frame(PING, bytes(126)), 1002),
    "longer pong": (frame(PONG, bytes(65_536)), 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    **{
        f"close {code}": (masked(frame(CLOSE, code.to_bytes(2) + b"bye")), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    "close without UTF-8": (masked(frame(CLOSE, b"\x03\xe8\xff")), 1007),
    "close cut in a character": (masked(frame(CLOSE, b"\x03\xe8\xe2\x82")), 1007),
}
OUTSIDE_A_MESSAGE = {
    "continuation": (frame(CONTINUATION, b"abc"), 1002),
    "more to come of nothing": (frame(CONTINUATION, b"", fin=False), 1002),
    "unmasked audio": (frame(BINARY, b"abc", masked=False), 1002),
    "unmasked text": (frame(TEXT, b"abc", masked=False), 1002),
    "reserved audio": (frame(BINARY, b"abc", reserved=4), 1002),
    "reserved text": (frame(TEXT, b"abc", reserved=1), 1002),
    "125 in two bytes": (bytes([0x82, 0xFE, 0, 125]) + bytes(129), 1002),
    "0 in two bytes": (bytes([0x81, 0xFE, 0, 0]) + bytes(4), 1002),
    "65535 in eight bytes": (bytes([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255]) + bytes(20), 1002),
    "3 in eight bytes": (bytes([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 3]) + bytes(7), 1002),
    "too large": (frame(BINARY, bytes(20), length=MAX_BYTES + 1), 1009),
    "too large a text": (frame(TEXT, bytes(20), length=MAX_BYTES + 1), 1009),
    "huge": (frame(BINARY, bytes(20), length=2**63 - 1), 1009),
    "larger than any": (frame(TEXT, bytes(20), length=2**64 - 1), 1009),
    "text that is none": (masked(frame(TEXT, b"ab\xff")), 1007),
    "text cut in a character": (masked(frame(TEXT, b"ab\xe2\x82")), 1007),
    "text that is none, in parts": (frame(TEXT, b"\xe2\x82", fin=False) + masked(frame(CONTINUATION, b"\xff")), 1007),
    "text cut, in parts": (frame(TEXT, b"\xe2\x82", fin=False) + masked(frame(CONTINUATION, b"")), 1007),
    "too many parts": (frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"a", fin=False) * 5, 1009),
    "too much in parts": (
        frame(BINARY, bytes(10), fin=False) + frame(CONTINUATION, bytes(20), length=MAX_BYTES - 9),
        1009,
    ),
}
IN_A_MESSAGE = {
    "another message": (frame(BINARY, b"abc"), 1002),
    "another text": (frame(TEXT, b"abc", fin=False), 1002),
    "unmasked part": (frame(CONTINUATION, b"abc", masked=False), 1002),
    "reserved part": (frame(CONTINUATION, b"abc", reserved=2), 1002),
    "huge part": (frame(CONTINUATION, bytes(20), length=2**63), 1009),
    "a part of two bytes too long": (bytes([0x80, 0xFE, 0, 4]) + bytes(8), 1002),
    "endless": (frame(CONTINUATION, b"", fin=False) * 6, 1009),
}
CASES = [
    pytest.param(before, events, wrong, code, id=f"{name} {context}")
    for context, (before, events) in CONTEXTS.items()
    for name, (wrong, code) in {**ANYWHERE, **(IN_A_MESSAGE if context in INSIDE else OUTSIDE_A_MESSAGE)}.items()
]


def places(wire: bytes) -> list[int]:
    """All where a read may end; in the middle of what is long, a few are enough."""
    return [cut for cut in range(1, len(wire)) if cut < 150 or cut > len(wire) - 30 or cut in (READ_BYTES, 30_000)]


@pytest.mark.parametrize(("before", "events", "wrong", "code"), CASES)
def test_a_violation_ends_with_its_code_wherever_it_is_cut(before, events, wrong, code):
    behind = masked(frame(BINARY, b"behind")) + masked(frame(CLOSE, b"\x03\xe8"))
    wire = before + wrong + behind
    [*expected, violation] = events_of(wire)
    assert expected == events
    assert violation[:2] == (VIOLATION, code)
    for cut in places(wire):
        assert events_of(wire[:cut], wire[cut:]) == [*expected, violation], cut
    if len(wire) < 400:
        assert events_of(*(wire[k : k + 1] for k in range(len(wire)))) == [*expected, violation]
        client = Client()
        client.data_received(memoryview(wire))
        assert client.events == [*expected, violation]


@pytest.mark.parametrize("listener", [None, lambda data: False, lambda data: True], ids=["none", "declines", "takes"])
@pytest.mark.parametrize(("before", "events", "wrong", "code"), CASES[::7])
def test_a_listener_changes_nothing_of_that(before, events, wrong, code, listener):
    heard = []

    def listen(data: bytes) -> bool:
        heard.append((BINARY, data))
        return listener(data)

    wire = before + wrong
    for cut in (len(before), len(before) + 1, len(wire) - 1):
        heard.clear()
        client = Client(listener and listen)
        client.read(wire[:cut])
        client.read(wire[cut:])
        *others, violation = client.events
        assert violation[:2] == (VIOLATION, code)
        taken = heard if listener is not None and listener(b"") else []
        assert sorted([*taken, *others], key=repr) == sorted(events, key=repr)


# UTF-8, as Autobahn tests it (cases 6.*)

GOOD = [
    "", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\ufffd", "\ud7ff",
    "\ue000", "\U00010000", "\U0010ffff", "\ufffe", "a" * 17 + "€" * 9 + "b" * 33,
]  # fmt: skip
BAD = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf4\x90\x80\x80", b"\x80", b"\xbf", b"\xc0",
    b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff",
    b"\xe2\x28\xa1", b"\xf0\x28\x8c\xbc", b"\xe2\x82", b"\xf0\x90\x80", b"\xc3", b"\xc3(", b"12345678\xc3",
    b"\xe1\x80\xc0",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_text_of_every_kind(text):
    data = text.encode()
    wire = masked(frame(TEXT, data))
    for cut in range(len(wire)):
        assert events_of(wire[:cut], wire[cut:]) == [(TEXT, text)]
    for cut in range(len(data) + 1):
        parts = masked(frame(TEXT, data[:cut], fin=False)), frame(PING), masked(frame(CONTINUATION, data[cut:]))
        assert events_of(*parts) == [(PING, b""), (TEXT, text)]


@pytest.mark.parametrize("data", BAD)
def test_text_that_is_none(data):
    assert events_of(masked(frame(TEXT, data)))[0][:2] == (VIOLATION, 1007)
    for cut in range(len(data) + 1):
        wire = masked(frame(TEXT, data[:cut], fin=False)) + masked(frame(CONTINUATION, data[cut:]))
        assert events_of(wire)[0][:2] == (VIOLATION, 1007)
    assert events_of(masked(frame(TEXT, b"abcdefgh" + data + b"abcdefgh")))[0][:2] == (VIOLATION, 1007)


@given(st.binary(max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_text_of_any_bytes(data, cuts):
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[begin:end] for begin, end in pairwise(bounds)] or [b""]
    wire = b"".join(
        masked(frame(TEXT if k == 0 else CONTINUATION, part, fin=k == len(parts) - 1)) for k, part in enumerate(parts)
    )
    try:
        expected: tuple[Any, ...] = (TEXT, data.decode())
    except UnicodeDecodeError:
        assert events_of(wire)[0][:2] == (VIOLATION, 1007)
    else:
        assert events_of(wire) == [expected]


def test_text_is_refused_as_soon_as_it_cannot_become_any():
    """Autobahn 6.4: not only at its end."""
    assert events_of(masked(frame(TEXT, b"\xf4\x90" + bytes(100)))[:9])[0][:2] == (VIOLATION, 1007)


# The library is the oracle


def library_events(wire: bytes) -> list[tuple[Any, ...]]:
    conn = ServerProtocol(state=OPEN, max_size=MAX_BYTES)
    conn.receive_data(wire)
    events: list[tuple[Any, ...]] = []
    parts: list[bytes] = []
    kind = Opcode.BINARY
    for event in conn.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            kind = kind if event.opcode is Opcode.CONT else event.opcode
            parts.append(bytes(event.data))
            if event.fin:
                data, parts = b"".join(parts), []
                events.append((int(kind), data.decode() if kind is Opcode.TEXT else data))
        elif event.opcode is Opcode.PING:
            events.append((PING, bytes(event.data)))
        elif event.opcode is Opcode.CLOSE:
            close = Close.parse(event.data)
            events.append((CLOSE, int(close.code), close.reason, bytes(event.data)))
    if conn.parser_exc is not None:
        assert conn.close_sent is not None
        events.append((VIOLATION, int(conn.close_sent.code)))
    return events


payloads = st.one_of(
    st.binary(max_size=5),
    st.sampled_from([124, 125, 126, 127, 640, 65_535, 65_536, MAX_BYTES, MAX_BYTES + 1]).map(bytes),
)
some_frames = st.lists(
    st.one_of(
        payloads.map(lambda data: masked(frame(BINARY, data))),
        st.text(max_size=5).map(lambda text: masked(frame(TEXT, text.encode()))),
        st.tuples(payloads, payloads).map(
            lambda two: masked(frame(BINARY, two[0], fin=False)) + masked(frame(CONTINUATION, two[1]))
        ),
        st.text(max_size=5).map(lambda text: frame(TEXT, b"", fin=False) + masked(frame(CONTINUATION, text.encode()))),
        st.just(masked(frame(PING, b"?"))),
        st.just(frame(PONG, b"")),
        st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0b\xb8", b"\x03\xed", b"x"]).map(
            lambda data: masked(frame(CLOSE, data))
        ),
        # ASCII: the library does not look whether text is UTF-8.
        st.tuples(st.integers(0, 15), st.text("a\x7f\0", max_size=3), st.booleans(), st.integers(0, 1)).map(
            lambda any_: masked(frame(any_[0], any_[1].encode(), fin=any_[2], reserved=any_[3]))
        ),
    ),
    max_size=8,
)


@given(some_frames, st.lists(st.integers(0, 200_000), max_size=6), st.booleans())
def test_any_frames_give_the_events_of_the_library(frames, cuts, elsewhere):
    wire = b"".join(frames)
    bounds = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    client = Client()
    for begin, end in pairwise(bounds):
        if elsewhere:
            client.data_received(wire[begin:end])
        else:
            client.read(wire[begin:end])
    events = [event[:2] if event[0] == VIOLATION else event for event in client.events]
    assert events == library_events(wire)


@given(st.binary(max_size=64), st.integers(1, 64))
def test_any_bytes_are_taken_in_pieces_as_at_once(data, size):
    assert events_of(*(data[k : k + size] for k in range(0, len(data), size))) == events_of(data)


# Close frames


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_good_close_codes(code):
    payload = code.to_bytes(2) + "wörds".encode()
    client = Client()
    client.read(masked(frame(CLOSE, payload)) + frame(PING) * 3)
    assert client.events == [(CLOSE, code, "wörds", payload)]
    assert client.close_seen
    assert client.is_stopped
    assert client.pending_bytes == 0
    client.read(frame(PING))
    assert len(client.events) == 1


def test_a_close_without_a_code_and_one_inside_a_message():
    wire = masked(frame(BINARY, b"half", fin=False)) + frame(CLOSE)
    assert events_of(wire) == [(CLOSE, NO_STATUS, "", b"")]


def test_close_frames_that_are_built():
    assert build_close(1000, "bye") == Frame(Opcode.CLOSE, Close(1000, "bye").serialize()).serialize(mask=False)
    assert build_close(NO_STATUS, "") == b"\x88\x00"
    long = build_close(1011, "é" * 100)
    assert len(long) == 2 + 2 + 122  # 123 would be half a character
    assert long[4:].decode() == "é" * 61
    for code in (0, 999, 1004, 1006, 1015, 2999, 5000, 65_536, -1):
        with pytest.raises(ValueError, match="must not be sent"):
            build_close(code, "")


@given(st.sampled_from([TEXT, BINARY, PONG]), st.one_of(st.binary(max_size=125), st.text(max_size=30)))
def test_frames_that_are_built(opcode, data):
    expected = Frame(Opcode(opcode), data.encode() if isinstance(data, str) else data).serialize(mask=False)
    assert build_frame(opcode, data) == expected
    if isinstance(data, bytes):
        assert build_frame(opcode, memoryview(data)) == build_frame(opcode, bytearray(data)) == expected


@pytest.mark.parametrize("size", [125, 126, 127, 65_535, 65_536, 100_000])
def test_frames_of_every_length(size):
    data = bytes([7]) * size
    assert build_frame(BINARY, data) == Frame(Opcode.BINARY, data).serialize(mask=False)


def test_frames_that_cannot_be_built():
    with pytest.raises(ValueError, match=r"opcode must be within 0\.\.15, got 16"):
        build_frame(16, b"")
    with pytest.raises(ValueError, match="at most 125 bytes, got 126"):
        build_frame(PING, bytes(126))
    with pytest.raises(UnicodeEncodeError):
        build_frame(TEXT, "\ud800")
    with pytest.raises(TypeError):
        build_frame(TEXT, 3)  # type: ignore[arg-type]


# Limits


def test_a_message_of_the_largest_size_and_number_of_parts():
    assert events_of(frame(BINARY, bytes(MAX_BYTES))) == [(BINARY, bytes(MAX_BYTES))]
    parts = frame(BINARY, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) * 3
    assert events_of(parts + frame(CONTINUATION, bytes(MAX_BYTES - 4))) == [(BINARY, b"abbb" + bytes(MAX_BYTES - 4))]
    assert events_of(parts + frame(CONTINUATION, bytes(MAX_BYTES - 3)))[0] == (
        VIOLATION, 1009, f"frame with {MAX_BYTES - 3} bytes after reading 4 bytes exceeds limit of {MAX_BYTES} bytes",
    )  # fmt: skip
    assert events_of(parts + frame(CONTINUATION, b"b", fin=False) + frame(CONTINUATION))[0] == (
        VIOLATION, 1009, "message of more than 5 fragments",
    )  # fmt: skip


def test_frames_are_counted_and_the_rest_waits():
    client = Client(n_frames=10)
    client.read(frame(PING) * 4 + frame(PONG) * 4 + frame(BINARY, b"", fin=False) + frame(PING) * 3)
    assert len(client.events) == 5
    assert (client.n_frames_left, client.pending_bytes) == (0, 2 * 6)
    client.read(frame(PING))
    assert client.pending_bytes == 3 * 6
    client.n_frames_left = 2
    client.on_input()
    assert (len(client.events), client.n_frames_left, client.pending_bytes) == (7, 0, 6)


def test_a_turn_has_so_many_frames_and_so_much_audio():
    class Slow(Client):
        def on_input(self) -> None:
            pass

    slow = Slow(lambda data: True)
    slow.read(frame(BINARY, b"a") * 200)
    assert slow.turn_is_over
    assert slow.pending_bytes == (200 - TURN_FRAMES) * 7
    assert slow.poll() is None
    assert slow.pending_bytes == (200 - TURN_FRAMES) * 7
    slow.begin_turn()
    assert slow.poll() is None
    assert slow.pending_bytes == (200 - 2 * TURN_FRAMES) * 7
    slow = Slow(lambda data: True)
    slow.read(frame(BINARY, bytes(5000)) * 10)
    assert slow.pending_bytes == 6 * 5008
    assert 4 * 5000 > TURN_BYTES > 3 * 5000


def test_nothing_is_received_while_it_is_held():
    client = Client()
    client.is_held = True
    client.read(frame(BINARY, b"abc"))
    client.data_received(frame(PING))
    assert (client.events, client.pending_bytes) == ([], 15)
    client.is_held = False
    client.on_input()
    assert client.events == [(BINARY, b"abc"), (PING, b"")]


def test_what_is_not_complete_is_told():
    client = Client()
    client.read(frame(BINARY, b"abc"))
    assert (client.n_rests, client.is_between, client.rested) == (0, True, True)
    client.rested = False
    client.read(frame(BINARY, b"abc", fin=False))
    assert (client.n_rests, client.is_between, client.rested) == (1, False, False)
    client.read(frame(PING))
    assert client.rested is False
    client.read(frame(CONTINUATION, b"abc")[:4])
    assert (client.is_between, client.rested) == (False, False)
    client.is_timed = True
    n_rests = client.n_rests
    client.read(frame(CONTINUATION, b"abc")[4:])
    assert (client.is_between, client.rested) == (True, True)
    client.read(frame(PONG))
    assert client.n_rests == n_rests + 1


# Listeners


def test_a_listener_gets_messages_in_their_order_and_may_decline():
    heard: list[bytes] = []

    def listen(data: bytes) -> bool:
        heard.append(data)
        return data != b"no"

    client = Client(listen)
    wire = b"".join(masked(frame(BINARY, data)) for data in (b"one", b"no", b"two", bytes(640), bytes(70_000)))
    wire += masked(frame(BINARY, b"th", fin=False)) + frame(PING) + masked(frame(CONTINUATION, b"ree"))
    client.read(wire)
    assert heard == [b"one", b"no", b"two", bytes(640), bytes(70_000), b"three"]
    assert client.events == [(BINARY, b"no"), (PING, b"")]
    client.listener = None
    client.read(masked(frame(BINARY, b"four")))
    assert client.events[-1] == (BINARY, b"four")


@pytest.mark.parametrize("size", [3, 640, 70_000])
def test_what_stands_behind_a_message_is_left_when_the_listener_stops(size):
    left: list[tuple[int, bytes]] = []
    behind = masked(frame(BINARY, b"behind")) + masked(frame(CLOSE, b"\x03\xe8"))[:5]

    def listen(data: bytes) -> bool:
        left.append(client.stop())
        return False

    for kept in (False, True):
        client = Client(listen)
        client.is_held = kept
        client.read(masked(frame(BINARY, bytes(size))) + behind)
        client.is_held = False
        client.on_input()
        assert left == [(0, behind)]
        assert client.events == []
        client.read(frame(PING))
        assert client.poll() is None
        left.clear()


@given(some_frames, st.integers(0, 200_000), st.integers(0, 200_000))
def test_frames_can_be_skipped_from_wherever_it_stopped(frames, first, second):
    """A close frame at the end is found by what `stop` returns."""
    before = b"".join(one for one in frames if one[0] & 15 != CLOSE)
    wire = before + frame(CLOSE, b"\x03\xe8")
    cut = first % (len(before) + 1)
    client = Client()
    client.read(wire[:cut])
    client.is_held = True
    client.read(wire[cut : cut + second % (len(before) - cut + 1)])
    n_skip_bytes, rest = client.stop()
    skipper = FrameSkipper(n_skip_bytes)
    assert skipper.feed(rest) is False
    assert skipper.feed(wire[cut + second % (len(before) - cut + 1) :]) is True


# Memory, and misuse


def test_memory_follows_what_has_come():
    """A header announces the largest message, again and again, and nothing follows."""
    clients = [Client(max_bytes=1 << 40) for _ in range(1000)]
    for client in clients:
        client.read(frame(BINARY, b"a", length=1 << 39))
    assert all(not client.is_between for client in clients)


def test_misuse():
    with pytest.raises(TypeError, match="cannot be pickled"):
        Client().__reduce__()
    with pytest.raises(TypeError, match="cannot be pickled"):
        BUFFER.__reduce__()
    client = Client()
    with pytest.raises(RuntimeError, match="called before"):
        client.set_up(BUFFER, max_bytes=1, max_fragments=1, n_frames=1)
    for n_bytes in (-1, READ_BYTES + 1):
        with pytest.raises(ValueError, match="n_bytes must be within"):
            client.buffer_updated(n_bytes)
    with pytest.raises(TypeError):
        client.data_received("text")  # type: ignore[arg-type]
    for limits in ({"max_bytes": 0, "max_fragments": 1}, {"max_bytes": 1, "max_fragments": 0}):
        with pytest.raises(ValueError, match="limits must be positive"):
            FrameReceiver().set_up(BUFFER, n_frames=1, **limits)


def test_a_receiver_and_its_listener_are_collected():
    client: Client | None = Client()
    client.listener = lambda data: client is None
    gone = threading.Event()

    class Witness:
        def __del__(self) -> None:
            gone.set()

    client.witness = Witness()  # type: ignore[attr-defined]
    client = None
    gc.collect()
    assert gone.is_set()


def test_loops_on_threads_do_not_meet():
    """Each with its own buffer, as two servers in one process have."""
    heard: list[int] = [0, 0]
    audio = [masked(frame(BINARY, bytes([number + 1]) * 640)) * 20 for number in (0, 1)]
    wires = [wire + masked(frame(TEXT, b"x" * 99)) for wire in audio]

    def run(number: int) -> None:
        def listen(data: bytes) -> bool:
            assert data == bytes([number + 1]) * 640
            heard[number] += 1
            return True

        buffer = ReadBuffer()
        clients = [FrameReceiver() for _ in range(8)]
        for client in clients:
            client.set_up(buffer, max_bytes=1000, max_fragments=2, n_frames=MANY)
            client.listener = listen
            client.is_held = False
        for turn in range(60):
            for client in clients:
                cut = 1 + 37 * turn % (len(wires[number]) - 1)
                for piece in (wires[number][:cut], wires[number][cut:]):
                    client.get_buffer(0)[: len(piece)] = piece
                    client.buffer_updated(len(piece))
                    while (event := client.poll()) is not None:
                        assert event == (TEXT, "x" * 99)

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [8 * 60 * 20] * 2


# Audio in text messages


def append(audio: bytes) -> bytes:
    return json.dumps({"type": "append", "audio": base64.b64encode(audio).decode()}).encode()


AUDIO = bytes(range(256))
TEXTS = [append(AUDIO), b'{"type": "commit"}', b"", append(b"\xff"), append(bytes(5000)), "\u00e9".encode()]


@pytest.mark.parametrize("takes", [True, False])
@given(st.data())
def test_audio_in_text_goes_to_the_listener(takes, data):
    """However the messages come: in frames, fragments and reads of any size."""
    texts = data.draw(st.lists(st.sampled_from(TEXTS), max_size=5))
    wire = b""
    for text in texts:
        cut = data.draw(st.sampled_from([None, 0, 1, len(text) // 2]))
        if cut is None:
            wire += masked(frame(TEXT, text))
        else:
            wire += masked(frame(TEXT, text[:cut], fin=False)) + masked(frame(CONTINUATION, text[cut:]))
    count, heard = array("q", (0, 0)), []

    def listen(audio: bytes) -> bool:
        heard.append(audio)
        return takes

    client = Client(listen)
    client.text_audio = text_audio = TextAudio("append", count)
    size = data.draw(st.sampled_from([1, 7, 100, 1 << 20]))
    for begin in range(0, len(wire), size):
        client.read(wire[begin : begin + size])
    audio = {append(part): part for part in (AUDIO, b"\xff", bytes(5000))}
    with_audio = [text for text in texts if text in audio]
    assert heard == [audio[text] for text in with_audio]
    assert client.events == [(TEXT, text.decode()) for text in texts if not takes or text not in audio]
    assert client.is_between
    if takes:
        assert (count[0], count[1]) == (len(with_audio), sum(map(len, with_audio)))
        assert text_audio.n_bytes == sum(map(len, heard))
    else:  # they count when the text is read
        assert (count[0], count[1], text_audio.n_bytes) == (0, 0, 0)


def test_text_is_an_event_without_a_listener_or_when_longer_than_a_read():
    client = Client()
    client.text_audio = TextAudio("append", array("q", (0, 0)))
    client.read(masked(frame(TEXT, append(b"abc"))))
    assert client.events.pop() == (TEXT, append(b"abc").decode())
    long = append(bytes(READ_BYTES))
    client = Client(lambda audio: True, max_bytes=1 << 20)
    client.text_audio = TextAudio("append", array("q", (0, 0)))
    client.read(masked(frame(TEXT, long)))
    assert client.events == [(TEXT, long.decode())]


@pytest.mark.parametrize("text", [b"\xff", b"\xe2\x82", append(b"abc")[:-1] + b"\xc3"])
def test_text_that_is_not_utf8_with_audio_in_text(text):
    client = Client(lambda audio: True)
    client.text_audio = TextAudio("append", array("q", (0, 0)))
    client.read(masked(frame(TEXT, append(b"abc"))) + masked(frame(TEXT, text)))
    assert client.events == [(VIOLATION, 1007, "text that is not UTF-8")]


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
def test_a_listener_of_audio_in_text_may_stop(takes, fragments):
    def stop(audio: bytes) -> bool:
        rests.append(client.stop())
        return takes

    rests: list[tuple[int, bytes]] = []
    client = Client(stop)
    client.text_audio = TextAudio("append", array("q", (0, 0)))
    text = append(b"abc")
    wire = masked(frame(TEXT, text)) if fragments == 1 else masked(frame(TEXT, text[:9], fin=False))
    client.read(wire + (masked(frame(CONTINUATION, text[9:])) if fragments == 2 else b"") + b"behind")
    assert rests == [(0, b"behind")]
    assert client.events == []
