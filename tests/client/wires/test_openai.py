"""OpenAI's Realtime API as the client sees it, against a scripted server of it."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosedOK

from voxgate.client.wires.openai import OpenAiConnection, check_openai
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions

PCM = AudioFormat(1, 24_000, 16, False)
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Scripted:
    """The server's side: it says these messages, whatever comes."""

    def __init__(self, *messages):
        self.messages = [json.dumps(message) for message in messages]
        self.sent = []
        self.close_code = None

    async def send(self, message):
        self.sent.append(json.loads(message))

    async def recv(self):
        return self.messages.pop(0)

    async def close(self, code=1000):
        self.close_code = code


def events_of(*messages, start=Start(PCM, interim_results=True)):
    async def main():
        connection, events = OpenAiConnection(Scripted(*messages), start), []
        with pytest.raises(ConnectionClosedOK):
            while True:
                events.append(json.loads(await connection.recv()))
        return events

    return asyncio.run(main())


def event(kind, item="a", **fields):
    return {"type": kind, "item_id": item, **fields}


CLEARED = {"type": "input_audio_buffer.cleared"}


def test_one_utterance():
    assert events_of(
        event("input_audio_buffer.speech_started", audio_start_ms=500),
        event(f"{TRANSCRIPTION}.delta", delta="Hello"),
        event("input_audio_buffer.speech_stopped", audio_end_ms=1500),
        event("input_audio_buffer.committed"),
        CLEARED,
        event(f"{TRANSCRIPTION}.delta", delta=" you"),
        event(f"{TRANSCRIPTION}.completed", transcript="Hello you", usage=None),
    ) == [
        {"type": "active", "time": 0.5, "channel": 0},
        {"type": "segment", "start_time": 0.5, "end_time": 0.5, "is_final": False, "text": "Hello", "channel": 0},
        {"type": "inactive", "time": 1.5, "channel": 0},
        {"type": "segment", "start_time": 0.5, "end_time": 0.5, "is_final": False, "text": "Hello you", "channel": 0},
        {"type": "segment", "start_time": 0.5, "end_time": 1.5, "is_final": True, "text": "Hello you", "channel": 0},
    ]


def test_a_commit_of_nothing_is_no_event():
    empty = {"type": "error", "error": {"code": "input_audio_buffer_commit_empty", "message": "empty"}}
    assert events_of(empty, CLEARED) == []
    usage = {"type": "duration", "seconds": 0.0}
    completed = event(f"{TRANSCRIPTION}.completed", transcript="", usage=usage)
    assert events_of(event("input_audio_buffer.committed"), CLEARED, completed) == []


def test_errors():
    failed = event(f"{TRANSCRIPTION}.failed", error={"code": "c", "message": "one utterance"})
    other = {"type": "error", "error": {"code": None, "message": "all of it"}}
    told = events_of(event("input_audio_buffer.committed"), failed, other, CLEARED)
    assert [(event["message"], event["code"]) for event in told] == [("one utterance", "c"), ("all of it", "")]


def test_what_is_sent():
    async def main():
        server = Scripted()
        start = Start(PCM, vad=VadOptions(threshold=0.25), options={"language": "de"})
        connection = OpenAiConnection(server, start)
        await connection.send('{"request":"start"}')
        await connection.send(memoryview(b"\0\0\0"))
        await connection.send('{"request":"stop","disconnect":true}')
        return server.sent

    update, append, commit, clear = asyncio.run(main())
    assert update["session"]["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "turn_detection": {"type": "server_vad", "threshold": 0.25},
        "transcription": {"model": "gpt-4o-transcribe", "language": "de"},
    }
    assert append == {"type": "input_audio_buffer.append", "audio": "AAAA"}
    assert [commit["type"], clear["type"]] == ["input_audio_buffer.commit", "input_audio_buffer.clear"]


@pytest.mark.parametrize(
    "format", [AudioFormat(2, 16_000, 16, False), AudioFormat(1, 16_000, 32, True), AudioFormat(1, 16_000, 24, False)]
)
def test_what_it_cannot_carry(format):
    with pytest.raises(ValueError, match="the openai wire carries one channel of s16, mulaw or alaw"):
        check_openai(Start(format))
