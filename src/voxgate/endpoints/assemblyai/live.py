"""``GET /v3/ws``: AssemblyAI's streaming API over a websocket."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

from msgspec import UNSET

from voxgate.endpoints.assemblyai.query import Streaming, parse_streaming
from voxgate.endpoints.assemblyai.turn_options import with_turn_options
from voxgate.endpoints.credentials import BARE, credentials_in
from voxgate.endpoints.json_text import encode, parse
from voxgate.endpoints.refusals import FOREIGN_STATUSES, HttpAnswer, answer_of
from voxgate.endpoints.wire import Credentials, Upgrade, Wire, check_start, min_silence_ms
from voxgate.endpoints.words import transcript_of, words_of
from voxgate.errors import InvalidMessage, shown
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Active, Error, Event, Finished, Progress, Segment
from voxgate.protocol.requests import Flush, KeepAlive, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.service.service import Service
from voxgate.session.endpoint import Message, Received

__all__ = ["AssemblyAiWire"]

SCHEMES: Final = (BARE, "bearer")

FATAL: Final = {"timeout": 1008, "unauthorized": 1008, "overloaded": 1013, "internal": 1011}
"""The errors that end the stream, with a number for each. SDKs give up after an `Error`: all others are warnings."""

WARNING_CODE: Final = 1000


class AssemblyAiWire(Wire):
    """The words of one client. A segment is a turn; its id is the order of the turn."""

    name: ClassVar[WireName] = "assemblyai"

    @classmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        found = credentials_in(upgrade.headers, upgrade.subprotocols, SCHEMES)
        if found.token is None:  # web pages send a token in the query
            values = parse_qs(upgrade.query.decode("ascii", "replace")).get("token", [])
            return Credentials(values[0] if len(values) == 1 else "") if values else found
        return found

    @classmethod
    def open(cls, upgrade: Upgrade, service: Service) -> AssemblyAiWire:
        streaming = parse_streaming(
            upgrade.query,
            min_silence_ms=min_silence_ms(service.config),
            options_schema=service.session_options.schema,
        )
        if service.turn.is_on:
            streaming = with_turn_options(streaming, upgrade.query)
        check_start(streaming.start, service)
        return cls(streaming, upgrade.request_id, service.config.limits.session_s)

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        return answer_of(refusal, FOREIGN_STATUSES, {"error": refusal.text, "id": request_id})

    def __init__(self, streaming: Streaming, request_id: str, session_s: float) -> None:
        """`session_s`: how long the session may last."""
        self.start = streaming.start
        self._speech_started = streaming.speech_started
        self._request_id = request_id
        self._began_s = time.monotonic()
        self._expires_at = int(time.time() + session_s)
        self._received_s = 0.0

    @property
    def greeting(self) -> Sequence[Message]:
        return (encode({"type": "Begin", "id": self._request_id, "expires_at": self._expires_at}),)

    def read(self, text: str) -> Sequence[Received]:
        match parse(text).get("type"):
            case "KeepAlive" | "UpdateConfiguration":  # the options of a stream are those of its query
                return (KeepAlive(),)
            case "ForceEndpoint":
                return (Flush(),)
            case "Terminate":
                return (Stop(disconnect=True),)
            case kind:
                raise InvalidMessage(
                    f"type: expected ForceEndpoint, UpdateConfiguration, KeepAlive or Terminate, got {shown(kind)}"
                )

    def encode(self, event: Event) -> Sequence[Message]:
        match event:
            case Segment():
                return (encode(_turn(event)),)
            case Active() if self._speech_started:
                return (encode({"type": "SpeechStarted", "timestamp": _ms(event.time)}),)
            case Error():
                return tuple(map(encode, _errors(event)))
            case Progress() | Finished():
                self._received_s = event.received_s
        return ()

    def farewell(self, close: Close) -> Sequence[Message]:
        if close.reason not in (CloseReason.COMPLETED, CloseReason.DRAINING):
            return ()
        termination = {
            "type": "Termination",
            "audio_duration_seconds": round(self._received_s),
            "session_duration_seconds": round(time.monotonic() - self._began_s),
        }
        return (encode(termination),)


def _turn(segment: Segment) -> dict[str, Any]:
    is_final, transcript = segment.is_final is not False, transcript_of(segment)
    words = [
        {
            "text": word.text,
            "start": _ms(word.start_s),
            "end": _ms(word.end_s),
            "confidence": 1.0 if word.confidence is None else word.confidence,
            "word_is_final": is_final,
        }
        for word in words_of(segment, transcript)
    ]
    return _turn_of(segment.segment_id, is_final, transcript.text, words)


def _turn_of(order: Any, is_final: bool, text: str, words: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "type": "Turn",
        "turn_order": order,
        "turn_is_formatted": is_final,
        "end_of_turn": is_final,
        "transcript": text,
        "end_of_turn_confidence": 1.0 if is_final else 0.0,
        "words": words,
    }


def _errors(error: Error) -> Sequence[dict[str, Any]]:
    if error.segment_id is not UNSET:  # in place of a result: an empty turn ends it
        return (_warning(error), _turn_of(error.segment_id, True, "", ()))
    if error.code in FATAL:
        return ({"type": "Error", "error_code": FATAL[error.code], "error": error.message},)
    return (_warning(error),)


def _warning(error: Error) -> dict[str, Any]:
    return {"type": "Warning", "warning_code": WARNING_CODE, "warning": f"{error.code}: {error.message}"}


def _ms(time_s: float) -> int:
    return round(time_s * 1000)
