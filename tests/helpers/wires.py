"""Speech for the APIs of other services, and what their clients say."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from helpers.http_client import HttpClient, http_stream
from helpers.uploads import form, head, part, wav
from helpers.wire import Client, bursts, encode, pieces, start, stream
from voxgate import InferenceError

__all__ = ["TALK", "TEXTS", "TWO", "Talk", "failing", "failing_first", "mostly_words", "say", "words_of_length"]

TALK = encode(bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0))
TWO = encode(np.stack([bursts((0.5, 1.5), length_s=4.0), bursts((2.0, 2.75), length_s=4.0, seed=1)]))


def words_of_length(audio: Any) -> dict[str, Any]:
    """A model with a text: how much audio it got, in words with times."""
    n_ms = round(len(audio) / 16)
    return {"text": f"Some {n_ms} words.", "words": [_word("Some", 0.1, 0.2), _word(f"{n_ms}", 0.2, 0.3)]}


def failing(audio: Any) -> Any:
    """A model that fails at every call."""
    raise InferenceError("not this one")


def failing_first(model: Callable[[Any], Any] = words_of_length) -> Callable[[Any], Any]:
    """A model that fails at its first call."""
    calls = itertools.count()

    def infer(audio: Any) -> Any:
        return failing(audio) if next(calls) == 0 else model(audio)

    return infer


def mostly_words(audio: Any) -> dict[str, Any]:
    """The same with some empty results. The text depends on the length alone: each interim is revised by the next."""
    return {"text": "", "words": []} if len(audio) % 5 == 0 else words_of_length(audio)


def _word(text: str, start: float, end: float) -> dict[str, Any]:
    return {"word": text, "start": start, "end": end, "probability": 0.5}


class Talk(Client):
    """A client that sends JSON objects and audio, and collects what comes back."""

    def say(self, *messages: dict[str, Any] | bytes | str) -> None:
        self.send(*messages)

    def say_audio(self, data: bytes, size: int = 640) -> None:
        self.send(*pieces(data, size))


def say(url: str, *messages: dict[str, Any] | bytes, **options: Any) -> list[dict[str, Any]]:
    """Sends everything; all messages up to the close, which must be a clean one."""
    with Client(url, **options) as client:
        client.send(*[json.dumps(message) if isinstance(message, dict) else message for message in messages])
        answers = client.rest()
        assert client.close_code == 1000, (client.close_code, client.close_reason, answers)
    return answers


# The texts of the finals of one stream of s16 at 16 kHz, on each API, in the order in which they come

Pieces = Iterable[bytes]


def _native(server: Any, audio: Pieces) -> list[str]:
    return [event["text"] for event in stream(server.url(), start(), *audio) if event["type"] == "segment"]


def _live_http(server: Any, audio: Pieces) -> list[str]:
    return [
        event["text"] for event in http_stream(server.port, "/api/v1/segmented", audio) if event["type"] == "segment"
    ]


def _deepgram(server: Any, audio: Pieces) -> list[str]:
    url = f"ws://127.0.0.1:{server.port}/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true"
    answers = say(url, *audio, {"type": "CloseStream"})
    results = [answer for answer in answers if answer["type"] == "Results" and answer["is_final"]]
    return [result["channel"]["alternatives"][0]["transcript"] for result in results]


def _flux(server: Any, audio: Pieces) -> list[str]:
    url = f"ws://127.0.0.1:{server.port}/v2/listen?encoding=linear16&sample_rate=16000"
    answers = say(url, *audio, {"type": "CloseStream"})
    return [answer["transcript"] for answer in answers if answer.get("event") == "EndOfTurn"]


def _assemblyai(server: Any, audio: Pieces) -> list[str]:
    url = f"ws://127.0.0.1:{server.port}/v3/ws?sample_rate=16000"
    answers = say(url, *audio, {"type": "Terminate"})
    return [answer["transcript"] for answer in answers if answer["type"] == "Turn" and answer["end_of_turn"]]


def _realtime(server: Any, audio: Pieces) -> list[str]:
    form = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    with Client(f"ws://127.0.0.1:{server.port}/v1/realtime") as client:
        client.send({"type": "session.update", "session": form})
        for piece in audio:
            client.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()})
        client.send({"type": "input_audio_buffer.commit"}, {"type": "input_audio_buffer.clear"})
        events = client.until("input_audio_buffer.cleared")
        kinds = [event["type"].rpartition(".")[2] for event in events]
        for _ in range(kinds.count("committed") - kinds.count("completed")):
            events += client.until("conversation.item.input_audio_transcription.completed")
    return [event["transcript"] for event in events if event.get("transcript")]


def _recording(server: Any, audio: Pieces) -> list[str]:
    path = "/v1/listen?encoding=linear16&sample_rate=16000&utterances=true"
    with HttpClient(server.port).post(path) as client:
        for piece in audio:
            client.audio(piece)
        client.end()
        return [utterance["transcript"] for utterance in client.answer()[2]["results"]["utterances"]]


def _file(server: Any, audio: Pieces, *, is_spooled: bool = False) -> list[str]:
    """The cuts go through the form too."""
    cut = list(audio)
    field = part("model", "x") + part("response_format", "verbose_json")
    file = part("file", wav(b"".join(cut)))
    body = (file + field if is_spooled else field + file) + form()
    with HttpClient(server.port) as client:
        client.send(head(None))
        for piece in cut:
            client.audio(body[: len(piece)])
            body = body[len(piece) :]
        client.audio(body)
        client.end()
        return [segment["text"] for segment in client.answer()[2]["segments"]]


def _grpc(server: Any, audio: Pieces) -> list[str]:
    from helpers.grpc_client import stream as grpc_stream  # of an extra

    return [
        event["text"] for event in grpc_stream(server.server.grpc_port, start(), *audio) if event["type"] == "segment"
    ]


def _riva(server: Any, audio: Pieces) -> list[str]:
    from helpers.riva import streaming, transcripts

    return transcripts(streaming(server.server.grpc_port, audio))


def _riva_file(server: Any, audio: Pieces) -> list[str]:
    """The cuts go through the head of a WAV file too."""
    from helpers.riva import streaming, transcripts

    cut = list(audio)
    file = wav(b"".join(cut))
    pieces = [file[: len(cut[0])]]
    for piece in cut[1:]:
        file = file[len(pieces[-1]) :]
        pieces.append(file[: len(piece)])
    pieces.append(file[len(pieces[-1]) :])
    return transcripts(streaming(server.server.grpc_port, pieces))


def _riva_recording(server: Any, audio: Pieces) -> list[str]:
    from helpers.riva import recognize, transcripts

    return transcripts([recognize(server.server.grpc_port, b"".join(audio))])


TEXTS: dict[str, Callable[[Any, Pieces], list[str]]] = {
    "native": _native,
    "live http": _live_http,
    "deepgram": _deepgram,
    "deepgram, flux": _flux,
    "deepgram, recording": _recording,
    "assemblyai": _assemblyai,
    "openai, realtime": _realtime,
    "openai, file": _file,
    "grpc": _grpc,
    "riva": _riva,
    "riva, WAV": _riva_file,
    "riva, recording": _riva_recording,
    "openai, file before its fields": lambda server, audio: _file(server, audio, is_spooled=True),
}
