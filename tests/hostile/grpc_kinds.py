"""Hostile clients of the port for gRPC, down to the frames of HTTP/2: further rows of `kinds`."""

from __future__ import annotations

import os
import random
import zlib

from helpers.http2 import (
    DATA,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call,
    frame,
    message,
    open_connection,
    setting,
)
from helpers.raw import Raw
from hostile.kinds import kind, most

STREAM = "/voxgate.v1.Voxgate/Stream"
RIVA = "/nvidia.riva.asr.RivaSpeechRecognition/StreamingRecognize"
RECOGNIZE = "/nvidia.riva.asr.RivaSpeechRecognition/Recognize"
MAX_FRAME = 16_384


def _messages() -> tuple[bytes, bytes]:
    """A start of either API."""
    from voxgate.proto.riva import StreamingRecognizeRequest
    from voxgate.proto.voxgate import ClientMessage

    form = {"channels": 1, "sample_rate": 16_000, "bit_depth": 16, "is_float": False}
    ours = ClientMessage(start={"format": form, "probabilities": True, "notices": True})
    config = {"encoding": "LINEAR_PCM", "sample_rate_hertz": 16_000}
    theirs = StreamingRecognizeRequest(streaming_config={"config": config, "interim_results": True})
    return ours.SerializeToString(), theirs.SerializeToString()


def audio(data: bytes) -> bytes:
    """One message of either API: both have audio in field 2."""
    from voxgate.proto.voxgate import ClientMessage

    encoded: bytes = ClientMessage(audio=data).SerializeToString()
    return encoded


def in_frames(data: bytes, stream: int = 1) -> bytes:
    cuts = range(0, len(data), MAX_FRAME)
    return b"".join(frame(DATA, data[at : at + MAX_FRAME], stream=stream) for at in cuts)


def opened(raw: Raw, rng: random.Random, *settings: tuple[int, int]) -> None:
    """A call with a good start, on either API."""
    ours, theirs = _messages()
    path, first = rng.choice([(STREAM, ours), (RIVA, theirs)])
    open_connection(raw, *settings)
    raw.send(call(path) + in_frames(message(first)))


@kind(deadline="handshake_timeout_s", grpc=True)
def grpc_says_nothing(raw: Raw, rng: random.Random) -> None:
    pass


@kind(deadline="handshake_timeout_s", grpc=True)
def half_a_preface(raw: Raw, rng: random.Random) -> None:
    raw.send(PREFACE[: rng.randrange(1, len(PREFACE))])


@kind(end="closed", grpc=True)
def no_http2(raw: Raw, rng: random.Random) -> None:
    raw.send(rng.choice([b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01", b"\0" * 30]) + os.urandom(30))


@kind(deadline="start_timeout_s", grpc=True)
def a_call_without_a_message(raw: Raw, rng: random.Random) -> None:
    open_connection(raw)
    raw.send(call(rng.choice([STREAM, RIVA, RECOGNIZE])))


@kind(deadline="start_timeout_s", grpc=True)
def half_a_first_message(raw: Raw, rng: random.Random) -> None:
    open_connection(raw)
    data = message(rng.choice(_messages()))
    raw.send(call(rng.choice([STREAM, RIVA, RECOGNIZE])) + in_frames(data[: rng.randrange(1, len(data))]))


@kind(deadline="idle_timeout_s", grpc=True)
def half_a_message_of_audio(raw: Raw, rng: random.Random) -> None:
    ours, _ = _messages()
    open_connection(raw)
    raw.send(call(STREAM) + in_frames(message(ours) + message(audio(bytes(3200)))[: rng.randrange(1, 3000)]))


@kind(end="status", grpc=True)
def a_message_that_says_it_is_giant(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(in_frames(message(b"", length=rng.choice([2**32 - 1, 2**31, 17 << 20])) + bytes(100)))


@kind(end="reset", grpc=True, heavy=True)
def sends_more_than_it_may(raw: Raw, rng: random.Random) -> None:
    """Two megabytes, where the window has room for a few kilobytes."""
    ours, _ = _messages()
    open_connection(raw)
    raw.send(call(STREAM) + in_frames(message(ours)))
    most(raw, in_frames(message(audio(bytes(2 << 20)))), 1)


@kind(end="status", grpc=True, heavy=True)
def a_bomb(raw: Raw, rng: random.Random) -> None:
    """Fifty megabytes in fifty kilobytes."""
    squeezed = zlib.compressobj(9, wbits=31)
    data = squeezed.compress(audio(bytes(50 << 20))) + squeezed.flush()
    open_connection(raw)
    raw.send(call(rng.choice([STREAM, RIVA, RECOGNIZE]), grpc_encoding="gzip"))
    most(raw, in_frames(message(data, compressed=1)), 1)


@kind(end="status", grpc=True)
def messages_of_nothing(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(in_frames(message(rng.choice([b"\xff" * 30, b"\x0a", b"\x22\xff"])) * 30))


@kind(end="status", grpc=True)
def a_wrong_first_message(raw: Raw, rng: random.Random) -> None:
    open_connection(raw)
    path = rng.choice([STREAM, RIVA])
    raw.send(call(path) + in_frames(message(rng.choice([b"", b"\xff", audio(b"a")]))))


@kind(end="status", grpc=True)
def a_wrong_method(raw: Raw, rng: random.Random) -> None:
    open_connection(raw)
    raw.send(call(rng.choice(["/", "/voxgate.v1.Voxgate/Nothing", "/x/y", "/" + "x" * 100])))


@kind(end="goaway too_many_pings", grpc=True)
def a_flood_of_pings(raw: Raw, rng: random.Random) -> None:
    open_connection(raw)
    most(raw, frame(PING, bytes(8)) * 100, 1)


@kind(grpc=True)
def a_flood_of_settings(raw: Raw, rng: random.Random) -> None:
    open_connection(raw)
    most(raw, frame(SETTINGS, setting(4, rng.randrange(65_536))) * 1000, 3)


@kind(grpc=True)
def calls_that_are_reset_at_once(raw: Raw, rng: random.Random) -> None:
    """Each has cost the server something before it ends."""
    open_connection(raw)
    for number in range(1, 400, 2):
        raw.send(call(STREAM, stream=number) + frame(RST_STREAM, bytes(3) + b"\x08", stream=number))


@kind(grpc=True)
def frames_that_are_wrong(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(
        rng.choice(
            [
                frame(DATA, b"x", stream=0),
                frame(DATA, b"x", stream=99),
                frame(HEADERS, os.urandom(50), flags=4, stream=3),
                frame(PING, b"short"),
                frame(SETTINGS, b"odd"),
                frame(WINDOW_UPDATE, bytes(4), stream=1),
                frame(DATA, length=2**24 - 1, stream=1),
                frame(RST_STREAM, b"", stream=1),
                frame(200, os.urandom(20), stream=1),
            ]
        )
    )


@kind(deadline="send_timeout_s", grpc=True, heavy=True)
def reads_nothing(raw: Raw, rng: random.Random) -> None:
    """It allows the server no byte: the events stay there."""
    ours, _ = _messages()
    open_connection(raw, (4, 0))
    raw.send(call(STREAM) + in_frames(message(ours)))
    most(raw, in_frames(message(audio(bytes(320_000)))), 4)
