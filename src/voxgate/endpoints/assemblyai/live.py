"""``GET /v3/ws``: AssemblyAI's streaming API over a websocket."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

from msgspec import UNSET, UnsetType

from voxgate.endpoints.assemblyai.query import Streaming, parse_streaming
from voxgate.endpoints.assemblyai.turn_options import with_silences, with_turn_options
from voxgate.endpoints.credentials import BARE, credentials_in
from voxgate.endpoints.json_text import encode, parse
from voxgate.endpoints.refusals import FOREIGN_STATUSES, HttpAnswer, answer_of
from voxgate.endpoints.wire import Credentials, Upgrade, Wire, check_start, min_silence_ms
from voxgate.endpoints.words import transcript_of, words_of
from voxgate.errors import InvalidMessage, shown
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Active, Error, Event, Finished, Flushed, Progress, Segment
from voxgate.protocol.requests import Flush, KeepAlive, Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.service.service import Service
from voxgate.session.endpoint import Message, Received, Restart

__all__ = ["AssemblyAiWire"]

SCHEMES: Final = (BARE, "bearer")

FATAL: Final = {"timeout": 1008, "unauthorized": 1008, "overloaded": 1013, "internal": 1011}
"""The errors that end the stream, with a number for each. SDKs give up after an `Error`: all others are warnings."""

WARNING_CODE: Final = 1000


class AssemblyAiWire(Wire):
    """The words of one client. A segment is a turn. But on this API, no turn begins before the one before it has ended,
    so a `ForceEndpoint` that comes while finals are missing ends them all, as one turn. An `UpdateConfiguration` that
    changes the start begins another session, in which ids and times begin anew: those of the client go on.
    """

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
        return cls(streaming, upgrade.request_id, service.config.limits.session_s, service.session_options.parse)

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        return answer_of(refusal, FOREIGN_STATUSES, {"error": refusal.text, "id": request_id})

    def __init__(
        self,
        streaming: Streaming,
        request_id: str,
        session_s: float,
        check_options: Callable[[dict[str, Any] | None], Any],
    ) -> None:
        """`session_s`: how long the stream may last. `check_options` raises InvalidStart for options that the model
        does not take.
        """
        self.start: Start = streaming.start
        self._streaming = streaming
        self._check_options = check_options
        self._request_id = request_id
        self._began_s = time.monotonic()
        self._expires_at = int(time.time() + session_s)
        self._base_s, self._received_s = 0.0, 0.0  # of audio: before the session that runs, and in it
        self._base_order, self._n_turns = 0, 0  # likewise, of turns
        self._n_forced = 0  # ForceEndpoints that were not answered
        self._held: list[dict[str, Any]] = []  # the turns that end before the answer

    @property
    def greeting(self) -> Sequence[Message]:
        return (encode({"type": "Begin", "id": self._request_id, "expires_at": self._expires_at}),)

    def read(self, text: str) -> Sequence[Received]:
        message = parse(text)
        match message.get("type"):
            case "KeepAlive":
                return (KeepAlive(),)
            case "UpdateConfiguration":
                return self._configure(message)
            case "ForceEndpoint":
                self._n_forced += 1
                return (Flush(),)
            case "Terminate":
                return (Stop(disconnect=True),)
            case kind:
                raise InvalidMessage(
                    f"type: expected ForceEndpoint, UpdateConfiguration, KeepAlive or Terminate, got {shown(kind)}"
                )

    def _configure(self, message: Mapping[str, Any]) -> Sequence[Received]:
        streaming = with_silences(self._streaming.configured(message))
        self._check_options(streaming.start.options)
        self._streaming = streaming
        if streaming.start == self.start:
            return (KeepAlive(),)
        self.start = streaming.start
        return (Restart(self.start),)

    def encode(self, event: Event) -> Sequence[Message]:
        return tuple(map(encode, self._messages_of(event)))

    def _messages_of(self, event: Event) -> Sequence[dict[str, Any]]:
        match event:
            case Segment():
                turn = self._turn(event)
                return self._end_turn(turn) if turn["end_of_turn"] else (turn,)
            case Active() if self._streaming.speech_started:
                return ({"type": "SpeechStarted", "timestamp": self._ms(event.time)},)
            case Flushed():
                self._n_forced -= 1
                return self._release()
            case Error():
                return self._errors(event)
            case Progress():
                self._received_s = event.received_s
            case Finished():
                self._base_s, self._received_s = self._base_s + event.received_s, 0.0
                self._base_order, self._n_turns = self._base_order + self._n_turns, 0
        return ()

    def farewell(self, close: Close) -> Sequence[Message]:
        held = tuple(map(encode, self._release()))
        if close.reason not in (CloseReason.COMPLETED, CloseReason.DRAINING):
            return held
        termination = {
            "type": "Termination",
            "audio_duration_seconds": round(self._base_s + self._received_s),
            "session_duration_seconds": round(time.monotonic() - self._began_s),
        }
        return (*held, encode(termination))

    def _end_turn(self, turn: dict[str, Any]) -> Sequence[dict[str, Any]]:
        self._held.append(turn)
        return () if self._n_forced else self._release()

    def _release(self) -> Sequence[dict[str, Any]]:
        """The turns that were held back, as one."""
        held, self._held = self._held, []
        if len(held) < 2:
            return held
        text = " ".join(filter(None, (turn["transcript"].strip() for turn in held)))
        return ({**held[-1], "transcript": text, "words": [word for turn in held for word in turn["words"]]},)

    def _turn(self, segment: Segment) -> dict[str, Any]:
        is_final, transcript = segment.is_final is not False, transcript_of(segment)
        words = [
            {
                "text": word.text,
                "start": self._ms(word.start_s),
                "end": self._ms(word.end_s),
                "confidence": 1.0 if word.confidence is None else word.confidence,
                "word_is_final": is_final,
            }
            for word in words_of(segment, transcript)
        ]
        turn = self._turn_of(segment.segment_id, is_final, transcript.text, words)
        if is_final and segment.turn_probability is not UNSET:
            turn["end_of_turn_confidence"] = round(segment.turn_probability, 3)
        return turn

    def _turn_of(
        self, segment_id: int | UnsetType, is_final: bool, text: str, words: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        assert segment_id is not UNSET
        self._n_turns = max(self._n_turns, segment_id + 1)
        return {
            "type": "Turn",
            "turn_order": self._base_order + segment_id,
            "turn_is_formatted": is_final,
            "end_of_turn": is_final,
            "transcript": text,
            "end_of_turn_confidence": 1.0 if is_final else 0.0,
            "words": words,
        }

    def _errors(self, error: Error) -> Sequence[dict[str, Any]]:
        if error.segment_id is not UNSET:  # in place of a result: an empty turn ends it
            return (_warning(error), *self._end_turn(self._turn_of(error.segment_id, True, "", ())))
        if error.code in FATAL:
            return ({"type": "Error", "error_code": FATAL[error.code], "error": error.message},)
        return (_warning(error),)

    def _ms(self, time_s: float) -> int:
        return round((self._base_s + time_s) * 1000)


def _warning(error: Error) -> dict[str, Any]:
    return {"type": "Warning", "warning_code": WARNING_CODE, "warning": f"{error.code}: {error.message}"}
