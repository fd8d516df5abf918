"""Everything a hostile client can do to the server, one function each: how it begins, and what the contract answers.

A function gets a fresh connection and a source of chance, does its worst and returns with the connection as it is then:
thrown out by the server, or held open in the state that costs the server most.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from helpers.raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame, text, upgrade
from helpers.wire import FLUSH, KEEP_ALIVE, PAUSE, start

PATHS = ("/api/v1/segmented", "/api/v1/simple")
MESSAGE_BYTES = 1_048_576

Attack = Callable[[Raw, random.Random], None]


@dataclass(frozen=True)
class Kind:
    name: str
    attack: Attack
    end: int | str | None
    """What the server says to it at once: a close code, or the status of an HTTP response; for gRPC, how the call ends
    (`helpers.http2.end_of`). None: nothing yet, it has to wait for a deadline, or for the client to leave."""
    deadline: str | None = None
    """The setting that ends it."""
    heavy: bool = False
    """Takes more than a few milliseconds of somebody's time."""
    grpc: bool = False
    """Connects to the port for gRPC."""


KINDS: dict[str, Kind] = {}


def kind(
    end: int | str | None = None, deadline: str | None = None, heavy: bool = False, grpc: bool = False
) -> Callable[[Attack], Attack]:
    def enter(attack: Attack) -> Attack:
        name = attack.__name__
        assert name not in KINDS
        KINDS[name] = Kind(name, attack, end, deadline, heavy, grpc)
        return attack

    return enter


def opened(raw: Raw, rng: random.Random, **options: Any) -> None:
    """A good handshake and a good start."""
    raw.open(rng.choice(PATHS))
    raw.say(start(**options))


def most(raw: Raw, data: bytes, times: int) -> None:
    """As much of it as the server takes in before it stops reading or hangs up."""
    raw.socket.settimeout(0.2)
    try:
        for _ in range(times):
            if not raw.send(data):
                break
    except TimeoutError:
        pass
    raw.socket.settimeout(30)


# Before the upgrade


@kind(deadline="handshake_timeout_s")
def says_nothing(raw: Raw, rng: random.Random) -> None:
    pass


@kind(deadline="handshake_timeout_s")
def half_a_handshake(raw: Raw, rng: random.Random) -> None:
    request = upgrade(rng.choice(PATHS))
    raw.send(request[: rng.randrange(1, len(request) - 1)])


@kind(deadline="handshake_timeout_s")
def dribbles_a_handshake(raw: Raw, rng: random.Random) -> None:
    for byte in upgrade(rng.choice(PATHS))[:-2][: rng.randrange(40)]:
        raw.send(bytes([byte]))


@kind(end=431)
def huge_header(raw: Raw, rng: random.Random) -> None:
    most(raw, upgrade(rng.choice(PATHS), x_filler="x" * 1_000_000), 1)


@kind(end=431)
def ten_thousand_headers(raw: Raw, rng: random.Random) -> None:
    lines = "".join(f"x-{number}: {number}\r\n" for number in range(10_000))
    raw.send(b"GET /api/v1/segmented HTTP/1.1\r\nhost: localhost\r\n" + lines.encode() + b"\r\n")


@kind(deadline="handshake_timeout_s")
def endless_header(raw: Raw, rng: random.Random) -> None:
    raw.send(b"GET /api/v1/segmented HTTP/1.1\r\nhost: localhost\r\nx-filler: ")
    for _ in range(100):
        if not raw.send(b"x" * 600):
            return


@kind(end=400)
def no_http(raw: Raw, rng: random.Random) -> None:
    raw.send(
        rng.choice([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0", b"SSH-2.0-x\r\n"])
        + os.urandom(50)
        + b"\r\n\r\n"
    )


@kind(end=400)
def wrong_version(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), sec_websocket_version=rng.choice(["8", "0", "14"])))


@kind(end=400)
def bad_version(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), sec_websocket_version=rng.choice(["", "thirteen", None])))


@kind(end=400)
def bad_key(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), sec_websocket_key=rng.choice(["", "short", "!" * 24, None])))


@kind(end=404)
def wrong_path(raw: Raw, rng: random.Random) -> None:
    path = rng.choice(["/", "/api/v1", "/api/v1/segmented/", "/..%2f..", "/" + "x" * 5000, "/%00%ff", "/?token=x"])
    raw.send(upgrade("/nowhere" + path))


@kind(end=403)
def foreign_page(raw: Raw, rng: random.Random) -> None:
    origin = rng.choice(["https://evil.example", "null", "http://server.evil", "x" * 3000, "http://server\\@evil"])
    raw.send(upgrade(rng.choice(PATHS), origin=origin))


@kind(end=405)
def no_upgrade(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), upgrade=None, connection="close"))


@kind(end=405)
def other_upgrade(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), upgrade="h2c"))


@kind(heavy=True)
def posts_without_end(raw: Raw, rng: random.Random) -> None:
    raw.send(b"POST /api/v1/health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n")
    most(raw, bytes(65_536), 20)


@kind(heavy=True)
def asks_without_listening(raw: Raw, rng: random.Random) -> None:
    most(raw, b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1000, 20)


# Frames that are none


@kind(end=1002)
def no_mask(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(rng.choice([TEXT, BINARY, PING]), b"hello", masked=False))


@kind(end=1002)
def reserved_bits(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(BINARY, b"hello", reserved=rng.randrange(1, 8)))


@kind(end=1002)
def reserved_opcode(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), b"hello"))


@kind(end=1002)
def continues_nothing(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(CONTINUATION, b"hello", fin=rng.random() < 0.5))


@kind(end=1002)
def message_in_a_message(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(BINARY, b"hello", fin=False) + frame(rng.choice([TEXT, BINARY]), b"hello"))


@kind(end=1002)
def long_control_frame(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(rng.choice([PING, PONG, CLOSE]), bytes(rng.choice([126, 1000, 70_000]))))


@kind(end=1002)
def cut_control_frame(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(rng.choice([PING, PONG]), b"hello", fin=False))


@kind(end=1002)
def bad_close_code(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    payload = rng.choice(
        [b"\x03", *(code.to_bytes(2) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535))]
    )
    raw.send(frame(CLOSE, payload))


@kind(end=1007)
def close_reason_that_is_no_utf8(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(CLOSE, b"\x03\xe8\xff\xfe"))


@kind(end=1007)
def no_utf8(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(TEXT, rng.choice([b"\xff\xfe", b'{"request":"\xc3\x28"}', b"\xed\xa0\x80", b"\xf0\x9f"])))


@kind(end=1009)
def huge_frame(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(BINARY, b"x", length=rng.choice([MESSAGE_BYTES + 1, 1 << 31, (1 << 63) - 1])))


@kind(end=1009, heavy=True)
def huge_message(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, frame(BINARY, bytes(65_000), fin=False) + frame(CONTINUATION, bytes(65_000), fin=False) * 16, 1)


@kind(end=1002)
def compressed(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), sec_websocket_extensions="permessage-deflate; client_max_window_bits"))
    status, headers, _ = raw.response()
    assert status == 101
    assert "sec-websocket-extensions" not in headers
    raw.send(frame(BINARY, b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08", reserved=4))


@kind(end=1009, heavy=True)
def endless_empty_fragments(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(BINARY, fin=False))
    most(raw, frame(CONTINUATION, fin=False) * 10_000, 20)


@kind(end=1009, heavy=True)
def tiny_fragments(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(BINARY, b"ab", fin=False))
    most(raw, frame(CONTINUATION, b"ab", fin=False) * 10_000, 20)


# Good frames, in bad faith


@kind(deadline="message_timeout_s")
def unfinished_message(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.send(frame(BINARY, bytes(rng.randrange(20_000)), fin=False))


@kind(deadline="message_timeout_s", heavy=True)
def message_that_is_nearly_there(raw: Raw, rng: random.Random) -> None:
    """The most that can be had of a receive buffer: all of the largest message but one byte."""
    opened(raw, rng)
    most(raw, frame(BINARY, bytes(MESSAGE_BYTES))[:-1], 1)


@kind(deadline="message_timeout_s", heavy=True)
def fragments_that_are_nearly_there(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    first = frame(BINARY, bytes(1000), fin=False)
    most(raw, first + frame(CONTINUATION, bytes(1000), fin=False) * 1000, 1)


@kind(heavy=True)
def ping_flood(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, frame(PING, bytes(125)) * 500, 20)


@kind(heavy=True)
def pong_flood(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, frame(PONG, bytes(125)) * 500, 20)


@kind(deadline="send_timeout_s", heavy=True)
def never_reads(raw: Raw, rng: random.Random) -> None:
    """Every message is answered, and no answer is taken in."""
    raw.open(rng.choice(PATHS))
    most(raw, text(FLUSH) * 2000, 20)


@kind(deadline="send_timeout_s", heavy=True)
def never_reads_pongs(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, frame(PING, bytes(125)) * 2000, 50)


@kind(heavy=True)
def empty_messages(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, frame(BINARY) * 10_000, 20)


@kind(heavy=True)
def byte_by_byte(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, frame(BINARY, b"a") * 5_000, 10)


@kind(deadline="start_timeout_s")
def never_starts(raw: Raw, rng: random.Random) -> None:
    raw.open(rng.choice(PATHS))
    raw.say(*[KEEP_ALIVE] * rng.randrange(3))


@kind(deadline="start_timeout_s")
def audio_without_start(raw: Raw, rng: random.Random) -> None:
    raw.open(rng.choice(PATHS))
    raw.say(*[bytes(rng.randrange(1, 1000)) for _ in range(rng.randrange(1, 60))])


@kind(deadline="idle_timeout_s")
def goes_silent(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    raw.say(bytes(rng.randrange(20_000)))


@kind(end=1008)
def eight_invalid_messages(raw: Raw, rng: random.Random) -> None:
    raw.open(rng.choice(PATHS))
    junk = [
        "",
        "x" * 5000,
        "[" * 5000,
        '{"request":"start"}',
        '{"request":"foo"}',
        "é" * 100,
        '{"a":' * 2000,
        "9" * 5000,
    ]
    rng.shuffle(junk)
    raw.say(*junk)


@kind(heavy=True)
def start_flood(raw: Raw, rng: random.Random) -> None:
    raw.open(rng.choice(PATHS))
    many = b"".join(
        text(start(rng.choice([4000, 44_100, 191_999]), rng.randrange(1, 9), notices=True)) for _ in range(50)
    )
    most(raw, many, 6)


@kind(heavy=True)
def bad_start_flood(raw: Raw, rng: random.Random) -> None:
    raw.open(rng.choice(PATHS))
    most(raw, text(start(channels=1 << 40)) * 500, 4)


@kind(heavy=True)
def flush_flood(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, (frame(BINARY, bytes(320)) + text(FLUSH)) * 500, 6)


@kind(heavy=True)
def keep_alive_flood(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    most(raw, text(KEEP_ALIVE) * 2000, 10)


@kind(heavy=True)
def stop_flood(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng, notices=True)
    most(raw, (frame(BINARY, b"ab") + text(PAUSE)) * 300, 4)


@kind(heavy=True)
def full_speed(raw: Raw, rng: random.Random) -> None:
    """Audio as fast as the wire carries it, in the format that grows most."""
    opened(raw, rng, sample_rate=4000, channels=8, encoding="u8")
    most(raw, frame(BINARY, rng.randbytes(32_000)), 10)


@kind(heavy=True)
def most_padding(raw: Raw, rng: random.Random) -> None:
    """All that a client may ask to be kept: five seconds before speech, on eight channels."""
    opened(raw, rng, channels=8, vad={"prefix_padding_ms": 5000, "min_speech_ms": 2000, "max_segment_s": 30})
    most(raw, frame(BINARY, bytes(64_000)), 25)


@kind()
def leaves_in_a_message(raw: Raw, rng: random.Random) -> None:
    opened(raw, rng)
    message = frame(BINARY, bytes(5000))
    raw.send(message[: rng.randrange(len(message))])


@kind(end=400)
def wild_tokens(raw: Raw, rng: random.Random) -> None:
    raw.send(upgrade(rng.choice(PATHS), authorization="Bearer " + "\x00" * 10, sec_websocket_protocol="a,,b;" * 500))


@kind(end=1000)
def deep_json(raw: Raw, rng: random.Random) -> None:
    raw.open(rng.choice(PATHS))
    message = json.dumps(start())[:-1] + ',"x":' + "[" * 400 + "]" * 400 + "}"
    raw.say(message, {"request": "stop", "disconnect": True})


@kind(heavy=True)
def endless_speech(raw: Raw, rng: random.Random) -> None:
    """One long utterance on every channel, as long as a client may ask for, sent as fast as it is taken."""
    channels = rng.choice([1, 8])
    vad = {"threshold": 0.01, "negative_threshold": 0.0, "min_speech_ms": 0, "max_segment_s": 300 // channels}
    raw.open("/api/v1/segmented")
    raw.say(start(4000, channels, "u8", vad=vad))
    most(raw, frame(BINARY, rng.randbytes(64_000)), 18)
