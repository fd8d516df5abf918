"""OpenAI's APIs: any text, any form and any order of events give messages that their clients can read."""

from __future__ import annotations

import json
from array import array
from types import SimpleNamespace
from typing import Any

from fuzz.source import Source
from voxgate.config import load_config
from voxgate.endpoints.openai.errors import ApiError
from voxgate.endpoints.openai.form import FileBegin, FileEnd, FormParser
from voxgate.endpoints.openai.options import TranscriptionOptions
from voxgate.endpoints.openai.realtime import RealtimeWire
from voxgate.endpoints.query import start_of
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.protocol.events import Active, Error, Event, Flushed, Inactive, Segment, Started
from voxgate.protocol.requests import Start
from voxgate.session.endpoint import Answer

TYPES = (
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "session.update",
    "transcription_session.update",
    "",
)
SERVICE: Any = SimpleNamespace(
    config=load_config(environ={}),
    tally=SimpleNamespace(text=array("q", (0, 0))),
    turn=SimpleNamespace(is_on=True),
    session_options=SimpleNamespace(names=["language"], parse=lambda options: options),
)


def text(source: Source) -> str:
    kind = source.integer(0, 3)
    if kind == 0:
        return source.take(source.integer(0, 30)).decode("utf-8", "replace")
    fields: dict[str, Any] = {"type": source.pick(TYPES), "audio": source.pick(("AAAA", "AA==", "*", ""))}
    if kind == 1:
        detection = source.pick((None, {"type": "server_vad", "threshold": source.integer(-2, 9)}, 3, {"type": []}))
        form = source.pick(("pcm16", {"type": "audio/pcm", "rate": source.integer(-1, 99_999)}, {"type": 1}, None))
        fields["session"] = {"audio": {"input": {"turn_detection": detection, "format": form}}}
        fields["session"]["input_audio_format"] = form
    return json.dumps(fields)


def check_realtime(source: Source) -> None:
    wire = RealtimeWire("a-request", SERVICE)
    wire.encode(Started("id", "model", {}))
    segment_id, time_s = 0, 0.0
    for _ in range(source.integer(0, 12)):
        messages: list[Any] = []
        if source.flag():
            try:
                for received in wire.read(text(source)):
                    if isinstance(received, Answer):
                        answer = received.messages
                        messages += answer() if callable(answer) else answer
                    elif isinstance(received, Start):
                        messages += wire.encode(Started("id", "model", {}))
                        segment_id = 0
            except InvalidMessage as error:
                messages += wire.encode(Error(str(error), error.code))
        else:
            event: Event = source.pick(
                (
                    Active(time_s, 0, segment_id),
                    Inactive(time_s, 0, segment_id),
                    Segment(time_s, time_s + 1, False, {"text": "a b"}, 0, segment_id, stable_text="a"),
                    Segment(time_s, time_s + 1, True, {"text": "a b c"}, 0, segment_id),
                    Error("failed", "inference_failed", 0, segment_id),
                    Flushed(),
                )
            )
            messages += wire.encode(event)
            segment_id += isinstance(event, Error) or (isinstance(event, Segment) and bool(event.is_final))
            time_s += 0.5
        for message in messages:
            assert isinstance(json.loads(message)["type"], str)


def check_form(source: Source) -> None:
    body = b"--x\r\n" + source.take(source.integer(0, 200))
    try:
        parser = FormParser("multipart/form-data; boundary=x", 100_000)
        n_bytes = n_open = 0
        at = 0
        while at < len(body):
            size = source.integer(1, 50)
            for item in parser.feed(body[at : at + size]):
                n_open += isinstance(item, FileBegin) - isinstance(item, FileEnd)
                n_bytes += len(item) if isinstance(item, bytes) else 0
            at += size
        assert n_bytes <= len(body)
        assert n_open in (0, 1)
        parser.finish()
    except ApiError:
        pass


def fuzz(data: bytes) -> None:
    source = Source(data)
    kind = source.integer(0, 2)
    if kind == 0:
        check_realtime(source)
    elif kind == 1:
        check_form(source)
    else:
        try:
            assert isinstance(start_of(source.take(source.integer(0, 60))), Start)
            fields = {name: [source.json_text()] for name in ("response_format", "stream", "timestamp_granularities")}
            TranscriptionOptions.of(fields)
        except (ApiError, InvalidStart):
            pass


FORM = b'Content-Disposition: form-data; name="file"\r\n\r\nRIFF\r\n--x--\r\n'
QUERY = b"sample_rate=8000&vad.threshold=0.5"
SEEDS = [bytes([0] * 60), bytes(range(256)), bytes([1, 100]) + FORM, bytes([2, 40]) + QUERY]
