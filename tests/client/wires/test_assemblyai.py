"""What the client says and understands on AssemblyAI's API."""

from __future__ import annotations

import asyncio
import json

import pytest

from client.wires.test_deepgram import START, Websocket
from voxgate.client.wires.assemblyai import AssemblyAiConnection, assemblyai_query, check_assemblyai
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start, VadOptions


def test_queries():
    vad = VadOptions(silence_duration_ms=300)
    start = Start(AudioFormat(1, 8000, 8, False, "mulaw"), vad=vad, options={"keyterms_prompt": ["a"]})
    assert assemblyai_query(start) == (
        "sample_rate=8000&encoding=pcm_mulaw&format_turns=true&min_turn_silence=300&keyterms_prompt=%5B%22a%22%5D"
    )
    for form in (AudioFormat(2, 8000, 16, False), AudioFormat(1, 8000, 32, True)):
        with pytest.raises(ValueError, match="the assemblyai wire carries one channel of s16 or mulaw"):
            check_assemblyai(Start(form))


@pytest.mark.parametrize("interims", [False, True])
def test_requests_and_turns(interims):
    word = {"text": "So,", "start": 1250, "end": 1500, "confidence": 0.5, "word_is_final": True}
    turn = {"type": "Turn", "transcript": "So,", "words": [word], "end_of_turn": True, "turn_is_formatted": True}
    going_on = {**turn, "end_of_turn": False, "turn_is_formatted": False}
    websocket = Websocket(
        {"type": "Begin"},
        {"type": "SpeechStarted", "timestamp": 1000},
        going_on,
        turn,
        {"type": "Warning", "warning": "inference_failed: why"},
        {"type": "Warning", "warning": "Speak up: it is quiet"},
        {"type": "Error", "error": "gone", "error_code": 1011},
    )

    async def main():
        connection = AssemblyAiConnection(websocket, Start(START.format, interim_results=interims))
        for request in ("start", "flush", "keep_alive", "stop"):
            await connection.send(json.dumps({"request": request}))
        return [json.loads(await connection.recv()) for _ in range(6 + interims)]

    heard = asyncio.run(main())
    assert [json.loads(text)["type"] for text in websocket.sent] == ["ForceEndpoint", "KeepAlive", "Terminate"]
    segments = [event for event in heard if event["type"] == "segment"]
    assert [segment["is_final"] for segment in segments] == [False, True][1 - interims :]
    assert segments[-1] == {
        **{"type": "segment", "start_time": 1.25, "end_time": 1.5, "is_final": True, "text": "So,", "channel": 0},
        "words": [{"word": "So,", "start": 0.0, "end": 0.25, "confidence": 0.5}],
    }
    assert [(event["code"], event["message"]) for event in heard if event["type"] == "error"] == [
        ("inference_failed", "why"),
        ("warning", "Speak up: it is quiet"),
        ("1011", "gone"),
    ]
