"""Frames of live audio, against the library that reads all the others."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from voxgate._native.frames import binary_payload

MOST = 70_000


def frame(payload: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=mask)


@given(
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
    payload=st.one_of(
        st.binary(max_size=40), st.sampled_from([124, 125, 126, 127, 640, 65_534, 65_535]).map(lambda n: b"\x5a" * n)
    ),
)
def test_a_frame_anywhere(before, after, payload):
    data = before + frame(payload) + after
    end_pos = len(data) - len(after)
    assert binary_payload(data, len(before), len(data), MOST) == payload
    assert binary_payload(data, len(before), end_pos, MOST) == payload
    assert end_pos - len(before) == len(payload) + (6 if len(payload) < 126 else 8)
    assert binary_payload(data, len(before), end_pos, len(payload)) == payload
    if payload:
        assert binary_payload(data, len(before), end_pos, len(payload) - 1) is None


@given(payload=st.binary(max_size=300), cut=st.data())
def test_an_incomplete_frame(payload, cut):
    data = frame(payload)
    end_pos = cut.draw(st.integers(0, len(data) - 1))
    assert binary_payload(data, 0, end_pos, MOST) is None


@pytest.mark.parametrize(
    "data",
    [
        frame(b"abc", Opcode.TEXT),
        frame(b"abc", Opcode.PING),
        frame(b"", Opcode.CLOSE),
        frame(b"abc", Opcode.CONT),
        frame(b"abc", fin=False),
        frame(b"abc", mask=False),
        frame(bytes(65_536)),
        b"\xc2" + frame(b"abc")[1:],  # an extension's bit
        struct.pack("!BBH", 0x82, 0xFE, 125) + bytes(4 + 125),  # 125 has a shorter form
        struct.pack("!BBQ", 0x82, 0xFF, 3) + bytes(4 + 3),
    ],
    ids=["text", "ping", "close", "cont", "begun", "unmasked", "long", "rsv1", "length-126", "length-127"],
)
def test_others_are_left_alone(data):
    assert binary_payload(data, 0, len(data), MOST) is None


@given(data=st.binary(max_size=64), pos=st.integers(0, 64))
def test_any_bytes(data, pos):
    """What is taken for a frame is one: written with that mask, it is those bytes again."""
    if pos > len(data):
        return
    payload = binary_payload(data, pos, len(data), MOST)
    if payload is not None:
        head = 2 if len(payload) < 126 else 4
        mask = data[pos + head : pos + head + 4]
        masked = bytes(byte ^ mask[k % 4] for k, byte in enumerate(payload))
        assert data[pos] == 0x82
        assert data[pos + head + 4 : pos + head + 4 + len(payload)] == masked


@pytest.mark.parametrize("data", [bytearray(b"\x82\x80abcd"), memoryview(b"\x82\x80abcd"), "x", None])
def test_bytes_alone(data: Any):
    with pytest.raises(TypeError, match="data must be bytes"):
        binary_payload(data, 0, 0, 1)


@pytest.mark.parametrize(("pos", "end_pos"), [(-1, 3), (4, 3), (0, 7), (7, 7)])
def test_positions_out_of_range(pos, end_pos):
    with pytest.raises(ValueError, match="expected 0 <= pos <= end_pos <= 6"):
        binary_payload(b"\x82\x80abcd", pos, end_pos, 1)
