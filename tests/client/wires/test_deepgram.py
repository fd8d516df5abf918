"""What the client says and understands on Deepgram's API."""

from __future__ import annotations

import asyncio
import json

import pytest

from voxgate.client.wires.deepgram import DeepgramConnection, check_deepgram, deepgram_query
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, VadOptions

START = Start(AudioFormat(1, 16_000, 16, False))


class Websocket:
    def __init__(self, *messages):
        self.messages = [json.dumps(message) for message in messages]
        self.sent = []

    async def send(self, message):
        self.sent.append(message)

    async def recv(self):
        return self.messages.pop(0)


def test_queries():
    start = Start(
        AudioFormat(2, 8000, 8, False, "mulaw"),
        interim_results=True,
        vad=VadOptions(silence_duration_ms=300),
        options={"language": "de", "keyterm": ["a", "b c"], "punctuate": True},
    )
    assert deepgram_query(start) == (
        "encoding=mulaw&sample_rate=8000&channels=2&multichannel=true&interim_results=true"
        "&endpointing=300&language=de&keyterm=a&keyterm=b+c&punctuate=true"
    )
    assert deepgram_query(Start(ContainerFormat("auto"))) == "interim_results=false"
    with pytest.raises(ValueError, match="the deepgram wire carries s16, f32, mulaw, alaw, not s24"):
        check_deepgram(Start(AudioFormat(1, 8000, 24, False)))


def test_requests_and_results():
    word = {"word": "so", "punctuated_word": "So,", "start": 1.25, "end": 1.5, "confidence": 0.5}
    result = {
        "type": "Results",
        "channel_index": [1, 2],
        "start": 1.0,
        "duration": 2.0,
        "is_final": True,
        "speech_final": True,
        "channel": {"alternatives": [{"transcript": "So,", "words": [word]}]},
    }
    silent = {**result, "speech_final": False, "channel": {"alternatives": [{"transcript": "", "words": []}]}}
    error = {"type": "Error", "variant": "x", "description": "why"}
    started = {"type": "SpeechStarted", "channel": [1], "timestamp": 1.0}
    websocket = Websocket(started, silent, {"type": "Metadata"}, result, error)

    async def main():
        connection = DeepgramConnection(websocket)
        for request in ("start", "flush", "keep_alive", "stop"):
            await connection.send(json.dumps({"request": request}))
        await connection.send(b"audio")
        return [json.loads(await connection.recv()) for _ in range(4)]

    heard = asyncio.run(main())
    *texts, audio = websocket.sent
    assert [json.loads(text)["type"] for text in texts] == ["Finalize", "KeepAlive", "CloseStream"]
    assert audio == b"audio"
    assert heard == [
        {"type": "active", "time": 1.0, "channel": 1},
        {"type": "inactive", "time": 3.0, "channel": 1},
        {
            **{"type": "segment", "start_time": 1.0, "end_time": 3.0, "is_final": True, "text": "So,", "channel": 1},
            "words": [{"word": "So,", "start": 0.25, "end": 0.5, "confidence": 0.5}],
        },
        {"type": "error", "message": "why", "code": "x", "channel": 0},
    ]
