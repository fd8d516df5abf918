"""``GET /v1/listen``: Deepgram's live API over a websocket."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from msgspec import UNSET

from voxgate import __version__
from voxgate.endpoints.credentials import credentials_in
from voxgate.endpoints.deepgram.query import Listen, parse_listen
from voxgate.endpoints.deepgram.results import Results
from voxgate.endpoints.json_text import encode, parse
from voxgate.endpoints.refusals import FOREIGN_STATUSES, HttpAnswer, answer_of
from voxgate.endpoints.wire import CLOSE_CODES, Credentials, Upgrade, Wire, min_silence_ms
from voxgate.errors import InvalidMessage, shown
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Active, Error, Event, Finished, Flushed, Inactive, Progress, Segment
from voxgate.protocol.requests import Flush, KeepAlive, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal, RefusalKind
from voxgate.service.service import Service
from voxgate.session.endpoint import Answer, Message, Received

__all__ = ["DeepgramWire"]

SCHEMES: Final = ("token", "bearer")

ERROR_CODES: Final = {
    RefusalKind.INVALID: "Bad Request",
    RefusalKind.UNAUTHENTICATED: "INVALID_AUTH",
    RefusalKind.FORBIDDEN: "INSUFFICIENT_PERMISSIONS",
    RefusalKind.NOT_SERVED: "Bad Request",
    RefusalKind.TOO_MANY: "TOO_MANY_REQUESTS",
    RefusalKind.UNAVAILABLE: "SERVICE_UNAVAILABLE",
}

#: The text of the close frame: Deepgram's code, then our text.
CLOSE_TEXTS: Final = {
    CloseReason.INVALID: "DATA-0000",
    CloseReason.TOO_LARGE: "DATA-0000",
    CloseReason.TIMEOUT: "NET-0001",
    CloseReason.OVERLOADED: "NET-0000",
    CloseReason.INTERNAL: "NET-0000",
}


class DeepgramWire(Wire):
    """The words of one client. `Results` has the state of the channels."""

    name: ClassVar[WireName] = "deepgram"

    @classmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        return credentials_in(upgrade.headers, upgrade.subprotocols, SCHEMES)

    @classmethod
    def open(cls, upgrade: Upgrade, service: Service) -> DeepgramWire:
        listen = parse_listen(upgrade.query, min_silence_ms=min_silence_ms(service.config))
        return cls(listen, upgrade.request_id, service.model.name)

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        body = {"err_code": ERROR_CODES[refusal.kind], "err_msg": refusal.text, "request_id": request_id}
        answer = answer_of(refusal, FOREIGN_STATUSES, body, "Token")
        text = "".join(character if " " <= character <= "~" else "?" for character in refusal.text)
        return answer._replace(headers={**answer.headers, "dg-request-id": request_id, "dg-error": text})

    def __init__(self, listen: Listen, request_id: str, model: str) -> None:
        """`model`: the name of the model that the server serves."""
        self.start = listen.start
        self._request_id = request_id
        self._created = datetime.now(UTC)
        self._model_uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"voxgate:{model}"))
        self._model_info = {"name": model, "version": __version__, "arch": "voxgate"}
        self._received_s = 0.0
        self._results = Results(
            listen,
            {"request_id": request_id, "model_info": self._model_info, "model_uuid": self._model_uuid},
        )

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return ((b"dg-request-id", self._request_id.encode()),)

    def read(self, text: str) -> Sequence[Received]:
        match parse(text).get("type"):
            case "KeepAlive":
                return (KeepAlive(),)
            case "Finalize":
                self._results.expect_flush()
                return (Flush(),)
            case "CloseStream":
                return (Stop(disconnect=True),)
            case "Configure":
                return (Answer((encode(self._not_configured),)),)
            case kind:
                raise InvalidMessage(f"type: expected KeepAlive, Finalize, CloseStream or Configure, got {shown(kind)}")

    def encode(self, event: Event) -> Sequence[Message]:
        return tuple(map(encode, self._messages_of(event)))

    def _messages_of(self, event: Event) -> Sequence[Mapping[str, Any]]:
        results = self._results
        match event:
            case Segment():
                return results.segment(event)
            case Active():
                return results.speech_started(event)
            case Inactive():
                return results.speech_ended(event)
            case Flushed():
                return results.flushed(event.channel)
            case Error():
                return self._errors(event)
            case Progress():
                self._received_s = event.received_s
                return results.passed(event.received_s)
            case Finished():
                self._received_s = event.received_s
                return results.passed(event.received_s)
            case _:
                return ()

    def _errors(self, error: Error) -> Sequence[Mapping[str, Any]]:
        variant = "SchemaError" if error.code == InvalidMessage.code else error.code
        told = {"type": "Error", "variant": variant, "description": error.message, "message": error.message}
        return (told,) if error.segment_id is UNSET else (told, *self._results.failed(error.channel, error.segment_id))

    def farewell(self, close: Close) -> Sequence[Message]:
        rest = list(self._results.rest())
        if close.reason in (CloseReason.COMPLETED, CloseReason.DRAINING):
            rest.append(self._metadata)
        return tuple(map(encode, rest))

    @property
    def _not_configured(self) -> dict[str, Any]:
        return {
            "type": "ConfigureFailure",
            "request_id": self._request_id,
            "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
            "description": "the options of a stream are those of its query",
        }

    @property
    def _metadata(self) -> dict[str, Any]:
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._request_id,
            # That of the audio, which no part of the server sees as a whole.
            "sha256": "",
            "created": self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(self._received_s, 3),
            "channels": self._results.n_channels,
            "models": [self._model_uuid],
            "model_info": {self._model_uuid: self._model_info},
        }

    def code_of(self, close: Close) -> int:
        return 1011 if close.reason is CloseReason.TIMEOUT else CLOSE_CODES[close.reason]

    def reason_of(self, close: Close) -> str:
        code = CLOSE_TEXTS.get(close.reason)
        return close.text if code is None else f"{code}: {close.text}" if close.text else code
