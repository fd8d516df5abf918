"""parse_request: a request or an InvalidMessage, whatever came; what it says is short and holds no token."""

from __future__ import annotations

import json

from fuzz.source import Source
from voxgate.errors import InvalidMessage
from voxgate.protocol.json_codec import encode_request, parse_request
from voxgate.protocol.requests import Request

SECRET, SECRET_NUMBER = "hush-hush-hush", 9021077719
# What was expected, and at most about 80 characters of what came.
LONGEST_ERROR = 400


def parsed(text: str | bytes) -> Request | str:
    try:
        return parse_request(text)
    except InvalidMessage as error:
        assert 0 < len(str(error)) <= LONGEST_ERROR, str(error)
        str(error).encode()  # it goes on the wire
        return str(error)


def fuzz(data: bytes) -> None:
    source = Source(data)
    text: bytes | str
    if source.integer(0, 3) == 0:
        text = source.rest()
    else:
        audio_format = {"channels": "1", "sample_rate": "16000", "bit_depth": "16", "is_float": "false"}
        if source.flag():
            audio_format["encoding"] = source.json_text()
        vad = {"threshold": source.json_number(), "silence_duration_ms": source.json_number()}
        token = source.pick(
            [json.dumps(SECRET), f"[{json.dumps(SECRET)}]", json.dumps({SECRET: 1}), str(SECRET_NUMBER)]
        )
        fields = {
            "request": json.dumps(source.pick(["start", "start", "stop", "flush", "keep_alive", "other"])),
            "format": source.json_object(audio_format, 1),
            "interim_results": "true",
            "trace_id": "null",
            "vad": source.json_object(vad, 1),
            "notices": "false",
            "token": token,
            "disconnect": "true",
        }
        text = source.json_object(fields)
    outcome = parsed(text)
    if isinstance(text, str):
        try:
            as_bytes = text.encode()
        except UnicodeEncodeError:
            pass
        else:
            assert parsed(as_bytes) == outcome
    said = outcome if isinstance(outcome, str) else repr(outcome)
    assert SECRET not in said
    assert str(SECRET_NUMBER) not in said
    if not isinstance(outcome, str):
        assert parse_request(encode_request(outcome)) == outcome


SEEDS = [
    b'\x00{"request":"start","format":{"channels":1,"sample_rate":16000,"bit_depth":16,"is_float":false}}',
    b'\x00{"request":"start","format":{"channels":1,"sample_rate":1,"bit_depth":8,"is_float":true},"token":9021077719}',
    b'\x00{"request":"stop","disconnect":true}',
    b'\x00{"request":"flush"}',
    b'\x00\xff\xfe{"request"',
    b"\x01" + bytes(range(256)),
    bytes([1, 0, 1, 1, 1, 1, 3]) + bytes(40),
    bytes([1]) + bytes(40),
    bytes([0]) + b'{"request":"' + b"x" * 500 + b'"}',
]
