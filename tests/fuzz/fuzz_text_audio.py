"""Audio in text messages: what is found in any text is what the parser of the API finds."""

from __future__ import annotations

import json
from array import array

from fuzz.source import Source
from voxgate._native.text_audio import TextAudio
from voxgate.endpoints.openai.realtime_requests import Append, parse_realtime

KIND = "input_audio_buffer.append"
PIECES = (
    *(b"{", b"}", b":", b",", b" ", b'"', b"\\", b"=", b'"type"', b'"audio"', b'"event_id"', b'"QUJD"', b'"QQ=="'),
    *(b'"QR=="', b'"QUI="', b"null", b"\xc3\xa9", f'"{KIND}"'.encode(), f'{{"type":"{KIND}","audio":"QUJD"'.encode()),
)


def fuzz(data: bytes) -> None:
    source = Source(data)
    text = b""
    while source.left and len(text) < 500:
        text += source.take(source.size(4)) if source.integer(0, 7) == 7 else source.pick(PIECES)
    found = TextAudio(KIND, array("q", (0, 0)))(text)
    if found is not None:
        message = parse_realtime(text.decode())
        assert message == Append(found, json.loads(text).get("event_id"))


SEEDS = [bytes([0, 18, 0, 1]), bytes(range(40)), bytes([0, 8, 0, 2, 0, 17, 0, 3, 0, 9, 0, 2, 0, 12, 0, 1])]
