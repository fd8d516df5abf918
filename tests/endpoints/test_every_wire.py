"""What holds on every wire that carries words, on real sockets."""

from __future__ import annotations

import base64
import json

import pytest

from helpers.http_client import HttpClient
from helpers.uploads import transcribe, wav
from helpers.wire import Client, pieces, start, stream
from helpers.wires import TALK
from voxgate import InferenceError

REALTIME = [
    {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}}
]
APPENDS = [
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()} for piece in pieces(TALK, 32_000)
]
COMMIT = {"type": "input_audio_buffer.commit"}


@pytest.mark.parametrize(
    ("path", "messages", "end"),
    [
        ("/v1/listen?encoding=linear16&sample_rate=16000", [TALK, {"type": "CloseStream"}], "Metadata"),
        ("/v3/ws?sample_rate=16000", [TALK, {"type": "Terminate"}], "Termination"),
        ("/v1/realtime", [*REALTIME, *APPENDS, COMMIT], "conversation.item.input_audio_transcription.failed"),
    ],
)
@pytest.mark.parametrize("is_error", [True, False])
def test_text_of_the_model_that_utf_8_cannot_carry(serve, path, messages, end, is_error):
    """The client gets an error in its place, and its stream goes on."""

    def model(audio):
        if is_error:
            raise InferenceError("not \ud800 this")
        return {"text": "not \ud800 this"}

    server = serve(model, **{"inference.warm_up": False})
    with Client(f"ws://127.0.0.1:{server.port}{path}") as client:
        client.send(*messages)
        told = client.until(end)
    assert ("not ? this" if is_error else "internal") in json.dumps(told)


def test_an_error_over_http_that_utf_8_cannot_carry(serve):
    def model(audio):
        raise InferenceError("not \ud800 this")

    server = serve(model, **{"inference.warm_up": False})
    status, _, body = transcribe(server.port, ("model", "x"), ("file", wav(TALK)))
    assert (status, "this" in body["error"]["message"]) == (500, True)
    with HttpClient(server.port).post("/v1/listen?encoding=linear16&sample_rate=16000") as client:
        client.audio(TALK)
        client.end()
        status, _, body = client.answer()
        assert (status, "this" in body["err_msg"]) == (500, True)
    errors = [event for event in stream(server.url(), start(), TALK) if event["type"] == "error"]
    assert [error["message"] for error in errors] == ["not ? this"] * 2
