"""The generator's frames, against those of the websockets library."""

from __future__ import annotations

from collections.abc import Generator as Generators
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from voxgate.load.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameError, FrameReader, client_frame

MAX_BYTES = 1000


def library(data: bytes, mask: bool) -> list[Frame] | None:
    """The complete frames of `data` as the library reads them; None when it refuses them."""
    reader = StreamReader()
    reader.feed_data(data)
    frames = []
    while True:
        parsing: Generators[None, None, Frame] = Frame.parse(reader.read_exact, mask=mask, max_size=MAX_BYTES)
        try:
            next(parsing)
        except StopIteration as done:
            frames.append(done.value)
        except (ProtocolError, PayloadTooBig):
            return None
        else:
            return frames  # it waits for more


@given(st.sampled_from([TEXT, BINARY]), st.sampled_from([0, 1, 2, 3, 5, 125, 126, 65_535, 65_536]), st.randoms())
def test_a_client_frame_is_one_whole_masked_message(opcode: int, length: int, random: Any) -> None:
    payload = random.randbytes(length)
    reader = StreamReader()
    reader.feed_data(client_frame(opcode, payload))
    parsing = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    assert (frame.opcode, frame.data, frame.fin) == (opcode, payload, True)
    assert reader.feed_eof() is None
    assert next(reader.at_eof(), None) is None


MESSAGES = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE]), st.binary(max_size=200), st.integers(1, 4)),
    max_size=6,
)


def wire(messages: list[tuple[int, bytes, int]]) -> bytes:
    """As a server may send them: data in so many fragments, with a ping between two of them."""
    data = b""
    for opcode, payload, n_fragments in messages:
        if opcode >= CLOSE:
            data += Frame(Opcode(opcode), payload[:125]).serialize(mask=False)
            continue
        size = -(-len(payload) // n_fragments) or 1
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
        for number, piece in enumerate(pieces):
            kind, is_last = opcode if number == 0 else CONTINUATION, number == len(pieces) - 1
            data += Frame(Opcode(kind), piece, fin=is_last).serialize(mask=False)
            if not is_last:
                data += Frame(Opcode.PING, b"between").serialize(mask=False)
    return data


def told(messages: list[tuple[int, bytes, int]]) -> tuple[list[tuple[int, bytes]], int]:
    data = [(opcode, payload[:125] if opcode >= CLOSE else payload) for opcode, payload, _ in messages]
    n_pings = wire(messages).count(b"\x89\x07between")
    return data, n_pings


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_whole_however_the_bytes_are_cut(
    messages: list[tuple[int, bytes, int]], sizes: list[int]
) -> None:
    data, reader, found, number = wire(messages), FrameReader(), [], 0
    while data:
        size = sizes[number % len(sizes)]
        number += 1
        found += reader.feed(data[:size])
        data = data[size:]
    expected, n_pings = told(messages)
    assert [each for each in found if each != (PING, b"between")] == [
        each for each in expected if each != (PING, b"between")
    ]
    assert found.count((PING, b"between")) >= n_pings


HEADS = st.builds(
    lambda first, second, rest: bytes((first, second)) + rest,
    st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0x08, 0x83, 0xC1, 0x91, 0x8B]),
    st.sampled_from([0, 1, 5, 125, 126, 127, 0x80, 0x85]),
    st.binary(max_size=140),
)


@given(st.one_of(st.binary(max_size=300), st.lists(HEADS, max_size=4).map(b"".join)))
def test_what_the_library_refuses_is_refused(data: bytes) -> None:
    frames = library(data, mask=False)
    reader = FrameReader(MAX_BYTES)
    try:
        found = reader.feed(data)
    except FrameError:
        # The library's Frame.parse sees one frame at a time: it knows no order of fragments and no sum of them.
        is_in_order, n_bytes, is_inside = True, 0, False
        for frame in frames or []:
            if frame.opcode < CLOSE:
                is_in_order = is_in_order and (frame.opcode == CONTINUATION) is is_inside
                n_bytes, is_inside = (n_bytes if is_inside else 0) + len(frame.data), not frame.fin
        unfinished = data[sum(len(frame.serialize(mask=False)) for frame in frames or []) :]
        assert frames is None or not is_in_order or n_bytes > MAX_BYTES or unfinished
        return
    assert frames is not None
    controls = [(int(frame.opcode), bytes(frame.data)) for frame in frames if frame.opcode >= CLOSE]
    assert [each for each in found if each[0] >= CLOSE] == controls
    assert len([each for each in found if each[0] < CLOSE]) == sum(
        frame.fin for frame in frames if frame.opcode < CLOSE
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x00\x00", "a fragment of no message"),
        (b"\x01\x00\x81\x00", "a message inside of a message"),
        (b"\x81\x81aaaaa", "masked"),
        (b"\x09\x00", "in fragments"),
        (b"\x88\x7e\x00\x7e", "more than 125"),
        (b"\xc1\x00", "reserved"),
        (b"\x83\x00", "opcode 3"),
        (b"\x81\x7f" + (1001).to_bytes(8, "big"), "more than 1000 bytes"),
        (b"\x01\x7e\x02\x00" + bytes(512) + b"\x80\x7e\x02\x00", "more than 1000 bytes"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint):
        FrameReader(MAX_BYTES).feed(data)
