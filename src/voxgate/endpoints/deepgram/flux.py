"""``GET /v2/listen``: Deepgram's Flux, live over a websocket, in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from msgspec import UNSET

from voxgate.endpoints.credentials import credentials_in
from voxgate.endpoints.deepgram.errors import refusal_answer
from voxgate.endpoints.deepgram.flux_query import Flux, NotConfigurable, Silence, parse_flux
from voxgate.endpoints.deepgram.live import CLOSE_TEXTS, USELESS
from voxgate.endpoints.deepgram.query import SCHEMES
from voxgate.endpoints.deepgram.turns import UPDATE_S, Turns
from voxgate.endpoints.json_text import encode, parse
from voxgate.endpoints.refusals import HttpAnswer
from voxgate.endpoints.wire import CLOSE_CODES, Credentials, Upgrade, Wire, check_start, min_silence_ms
from voxgate.errors import InvalidMessage, InvalidStart, shown
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import (
    Active,
    Error,
    Event,
    Finished,
    Flushed,
    Inactive,
    Progress,
    Segment,
    SpeechResumed,
    Started,
)
from voxgate.protocol.requests import Flush, KeepAlive, Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.service.service import Service
from voxgate.session.endpoint import Answer, Message, Received, Restart

__all__ = ["FluxWire"]

UNPARSABLE: Final = "UNPARSABLE_CLIENT_MESSAGE"

FATAL: Final = {
    **dict.fromkeys(USELESS, UNPARSABLE),
    "timeout": "NET-0001",
    "overloaded": "SERVICE_UNAVAILABLE",
    "unauthorized": "INVALID_AUTH",
    "internal": "INTERNAL_SERVER_ERROR",
}
"""The errors that end the stream, and Deepgram's codes. Clients give up after an `Error`: all others are warnings."""


class FluxWire(Wire):
    """The words of one client. What depends on the order of its messages and the events is decided in `Answer`s, which
    the session carries out in order. `Turns` has the state of the turn.
    """

    name: ClassVar[WireName] = "deepgram"
    progress_s = UPDATE_S

    @classmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        return credentials_in(upgrade.headers, upgrade.subprotocols, SCHEMES)

    @classmethod
    def open(cls, upgrade: Upgrade, service: Service) -> FluxWire:
        silence = Silence(service.config.vad.silence_duration_ms, min_silence_ms(service.config))
        flux = parse_flux(
            upgrade.query,
            silence=silence,
            options_schema=service.session_options.schema,
            has_turn_detector=service.turn.is_on,
        )
        check_start(flux.start, service)
        return cls(flux, upgrade.request_id, service.session_options.parse)

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        return refusal_answer(refusal, request_id)

    def __init__(self, flux: Flux, request_id: str, check_options: Callable[[dict[str, Any] | None], Any]) -> None:
        """`check_options` raises InvalidStart for options that the model does not take."""
        self.start: Start = flux.start
        self._flux = flux  # with every Configure that was received
        self._check_options = check_options
        self._request_id = request_id
        self._turns = Turns(flux)
        self._n_messages = 0
        self._has_failed = False

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return ((b"dg-request-id", self._request_id.encode()),)

    @property
    def greeting(self) -> Sequence[Message]:
        return self._encode({"type": "Connected"})

    # In

    def read(self, text: str) -> Sequence[Received]:
        message = parse(text)
        match message.get("type"):
            case "ForceEndTurn":
                return (self._do(self._turns.begin_force), Flush(), self._do(self._turns.end_force))
            case "Configure":
                return self._configure(message)
            case "CloseStream":
                return (self._do(self._turns.begin_force), Stop(disconnect=True))
            case "KeepAlive":
                return (KeepAlive(),)
            case kind:
                raise InvalidMessage(f"type: expected ForceEndTurn, Configure or CloseStream, got {shown(kind)}")

    @staticmethod
    def _do(step: Callable[[], None]) -> Answer:
        """Without an answer."""

        def run() -> Sequence[Message]:
            step()
            return ()

        return Answer(run)

    def _configure(self, message: Mapping[str, Any]) -> Sequence[Received]:
        try:
            flux = self._flux.configured(message)
            self._check_options(flux.options)
        except InvalidStart as error:
            code = error.reason if isinstance(error, NotConfigurable) else "CONFIGURE_INVALID"
            failure = {"type": "ConfigureFailure", "code": code, "error_code": code, "description": str(error)}
            return (Answer(lambda: self._encode(failure)),)
        self._flux = flux

        def succeed() -> Sequence[Message]:
            self._turns.flux = flux
            return self._encode(_configured(flux))

        start = flux.start
        if start == self.start:
            return (Answer(succeed),)
        self.start = start  # another session: a turn that is open goes on in it
        return (self._do(self._turns.begin_restart), Restart(start), Answer(succeed))

    # Out

    def encode(self, event: Event) -> Sequence[Message]:
        return self._encode(*self._messages_of(event))

    def _messages_of(self, event: Event) -> Sequence[Mapping[str, Any]]:
        turns = self._turns
        match event:
            case Segment():
                return turns.segment(event)
            case Progress():
                return turns.passed(event.received_s)
            case Active():
                return turns.speech_started(event)
            case Inactive():
                return turns.speech_ended(event)
            case SpeechResumed():
                return turns.speech_resumed(event)
            case Flushed():
                return turns.flushed()
            case Error():
                return self._errors(event)
            case Started():
                turns.session_started()
            case Finished():
                return turns.session_finished(event.received_s)
        return ()

    def _errors(self, error: Error) -> Sequence[Mapping[str, Any]]:
        if error.segment_id is not UNSET:
            return (_warning(error), *self._turns.failed(error.segment_id))
        if error.code in USELESS:
            self.ending = Close(CloseReason.INVALID, error.code)
        return (self._failure(FATAL[error.code], error.message) if error.code in FATAL else _warning(error),)

    def _failure(self, code: str, text: str) -> Mapping[str, Any]:
        self._has_failed = True
        return {"type": "Error", "code": code, "description": text}

    def _encode(self, *messages: Mapping[str, Any]) -> Sequence[Message]:
        texts = []
        for message in messages:
            numbers = {"request_id": self._request_id, "sequence_id": self._n_messages}
            texts.append(encode({"type": message["type"], **numbers, **message}))
            self._n_messages += 1
        return texts

    def farewell(self, close: Close) -> Sequence[Message]:
        if self._has_failed or close.reason in (CloseReason.COMPLETED, CloseReason.DRAINING):
            return ()
        return self._encode(self._failure(FATAL.get(close.reason, UNPARSABLE), close.text))

    def code_of(self, close: Close) -> int:
        return 1011 if close.reason is CloseReason.TIMEOUT else CLOSE_CODES[close.reason]

    def reason_of(self, close: Close) -> str:
        code = CLOSE_TEXTS.get(close.reason)
        return close.text if code is None else f"{code}: {close.text}" if close.text else code


def _configured(flux: Flux) -> Mapping[str, Any]:
    thresholds = flux.thresholds
    shown_thresholds: dict[str, Any] = {
        "eot_threshold": thresholds.eot_threshold,
        "eot_timeout_ms": thresholds.eot_timeout_ms,
    }
    if thresholds.eager_eot_threshold is not None:
        shown_thresholds["eager_eot_threshold"] = thresholds.eager_eot_threshold
    return {
        "type": "ConfigureSuccess",
        "thresholds": shown_thresholds,
        "keyterms": list(flux.keyterms),
        "language_hints": list(flux.language_hints),
    }


def _warning(error: Error) -> Mapping[str, Any]:
    code = UNPARSABLE if error.code == InvalidMessage.code else error.code.upper()
    return {"type": "Warning", "code": code, "description": error.message}
