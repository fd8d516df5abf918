"""Fields of OpenAI's APIs that a model has as options."""

from __future__ import annotations

import base64

import msgspec

from helpers.http_client import until
from helpers.uploads import transcribe, wav
from helpers.wire import Client
from helpers.wires import TALK
from voxgate import Model

FILE = wav(TALK)


class Options(msgspec.Struct):
    language: str = "none"


class Polyglot(Model):
    """Says which language it was asked for."""

    Options = Options

    def infer(self, audio, request):
        return {"text": request.options.language}


def test_files_wherever_the_field_is(serve):
    server = serve(Polyglot())
    for fields in ([("language", "de"), ("file", FILE)], [("file", FILE), ("language", "de")], [("file", FILE)]):
        expected = "de de" if len(fields) == 2 else "none none"
        assert transcribe(server.port, ("model", "x"), *fields)[2]["text"] == expected
    until(lambda: server.service.streams == 0)


def test_live(serve):
    server = serve(Polyglot())
    audio_input = {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {"model": "x", "language": "fr"}}
    update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}}
    with Client(f"ws://127.0.0.1:{server.port}/v1/realtime") as client:
        client.send(update, {"type": "input_audio_buffer.append", "audio": base64.b64encode(TALK).decode()})
        completed = client.until("conversation.item.input_audio_transcription.completed")[-1]
    assert completed["transcript"] == "fr"


def test_a_model_without_options_ignores_them(serve):
    server = serve(lambda audio: {"text": "x"})
    assert transcribe(server.port, ("language", "de"), ("prompt", "p"), ("file", FILE))[0] == 200
