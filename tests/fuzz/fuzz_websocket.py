"""The frames of a websocket: any bytes, in any pieces, held and limited at any time, give what they give at once."""

from __future__ import annotations

from array import array
from typing import Any

from fuzz.source import Source
from voxgate._native.text_audio import TextAudio
from voxgate._native.websocket import (
    BINARY,
    CLOSE,
    PING,
    READ_BYTES,
    TEXT,
    VIOLATION,
    FrameReceiver,
    ReadBuffer,
    build_close,
    build_frame,
)

MAX_BYTES = 3000
BUFFER = ReadBuffer()
AUDIO = b"abc"
TEXT_WITH_AUDIO = b'{"type":"a","audio":"YWJj"}'  # whose audio is not taken, so that it gives the same event


class Client(FrameReceiver):
    def __init__(self, source: Source | None) -> None:
        self.set_up(BUFFER, max_bytes=MAX_BYTES, max_fragments=4, n_frames=1 << 40)
        self.source = source
        self.is_held = False
        self.messages: list[tuple[Any, ...]] = []
        self.text_audio = TextAudio("a", array("q", (0, 0)))
        if source is not None:
            self.listener = self.listen

    def listen(self, data: bytes) -> bool:
        assert self.source is not None
        if data != AUDIO and self.source.flag():
            self.messages.append((BINARY, data))
            return True
        return False

    def on_input(self) -> None:
        while not self.is_held and (self.pending_bytes or self.has_event):
            event = self.poll()
            if event is not None:
                self.messages.append(event)
                if self.is_stopped:
                    return
                self.is_held = self.source is not None and self.source.integer(0, 7) == 7
            elif self.turn_is_over:
                self.begin_turn()
            elif self.pending_bytes or self.n_frames_left <= 0:
                assert self.n_frames_left <= 0
                self.n_frames_left = 1 << 40 if self.source is None else self.source.integer(1, 5)

    def on_rest(self) -> None:
        assert self.pending_bytes == 0
        assert not self.has_event

    def go_on(self) -> None:
        self.is_held = False
        if not self.is_stopped or self.has_event:
            self.on_input()


def wire_of(source: Source) -> bytes:
    """Frames that are nearly right."""
    wire = b""
    while source.left and len(wire) < 20_000:
        if source.integer(0, 15) == 15:
            wire += source.take(source.size(30))
            continue
        opcode = source.pick((BINARY, TEXT, 0, PING, 10, BINARY, 0, CLOSE, 3))
        size = source.pick((0, 1, 2, 5, 125, 126, 127, 640, MAX_BYTES, MAX_BYTES + 1))
        key = source.take(4).ljust(4, b"\0")
        if source.integer(0, 7) == 7:
            payload = TEXT_WITH_AUDIO
            size = len(payload)
        else:
            payload = source.take(min(size, 8)).ljust(size, source.pick((b"a", b"\xc3", b"\0")))
        first = (0 if source.integer(0, 3) == 3 else 0x80) | (source.integer(0, 15) == 15) << 6 | opcode
        head = bytes([first, 0x80 | size]) if size < 126 else bytes([first, 0xFE]) + size.to_bytes(2)
        wire += head + key + bytes(byte ^ key[k & 3] for k, byte in enumerate(payload))
    return wire


def fuzz(data: bytes) -> None:
    source = Source(data)
    wire = source.rest() if source.flag() else wire_of(Source(source.take(source.left // 2)))
    at_once, in_pieces = Client(None), Client(source)
    at_once.data_received(wire)
    pos = 0
    while pos < len(wire):
        piece = wire[pos : pos + 1 + source.size(3000)]
        pos += len(piece)
        if source.flag():
            in_pieces.data_received(piece)
        else:
            assert len(piece) <= READ_BYTES
            in_pieces.get_buffer(-1)[: len(piece)] = piece
            in_pieces.buffer_updated(len(piece))
        if source.flag():
            in_pieces.go_on()
    while in_pieces.is_held or in_pieces.has_event:
        in_pieces.go_on()
    assert in_pieces.messages == at_once.messages
    n_skip_bytes, rest = in_pieces.stop()
    assert 0 <= n_skip_bytes <= 1 << 63
    assert len(rest) <= len(wire)
    for message in at_once.messages:
        if message[0] == TEXT:
            assert build_frame(TEXT, message[1]).endswith(message[1].encode())
        elif message[0] == CLOSE:
            assert build_close(message[1], message[2]) == build_frame(CLOSE, message[3])
        elif message[0] == VIOLATION:
            assert build_close(message[1], message[2])[2:4] == message[1].to_bytes(2)


SEEDS = [
    bytes([0, 0]) + bytes(range(200)),
    bytes([1]) + bytes.fromhex("818537fa213d7f9f4d5158") * 3,
    bytes([1]) + b"\x01\x82\0\0\0\0\xe2\x82\x89\x80abcd\x80\x81\0\0\0\0\xac\x88\x82\0\0\0\0\x03\xe8",
    bytes([1]) + b"\x82\xfe\x01\x00\x01\x02\x03\x04" + bytes(256) + b"\x88\x80abcd",
]
