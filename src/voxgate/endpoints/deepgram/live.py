"""``GET /v1/listen``: Deepgram's live API over a websocket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from msgspec import UNSET

from voxgate.endpoints.credentials import credentials_in
from voxgate.endpoints.deepgram.errors import refusal_answer
from voxgate.endpoints.deepgram.metadata import Metadata
from voxgate.endpoints.deepgram.query import SCHEMES, Listen, parse_listen
from voxgate.endpoints.deepgram.results import Results
from voxgate.endpoints.json_text import encode, parse
from voxgate.endpoints.refusals import HttpAnswer
from voxgate.endpoints.wire import CLOSE_CODES, Credentials, Upgrade, Wire, check_start, min_silence_ms
from voxgate.errors import InvalidMessage, shown
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Active, Error, Event, Finished, Flushed, Inactive, Progress, Segment, Started
from voxgate.protocol.formats import MediaFormat
from voxgate.protocol.requests import Flush, KeepAlive, Stop
from voxgate.protocol.wires import WireName
from voxgate.service.admission import Refusal
from voxgate.service.service import Service
from voxgate.session.endpoint import Answer, Message, Received

__all__ = ["DeepgramWire"]

#: Errors after which no audio of the stream is of any use.
USELESS: Final = ("invalid_start", "invalid_media", "unsupported_media", "media_limit", "decoder_failed")

#: The text of the close frame: Deepgram's code, then our text.
CLOSE_TEXTS: Final = {
    CloseReason.INVALID: "DATA-0000",
    CloseReason.TOO_LARGE: "DATA-0000",
    CloseReason.TIMEOUT: "NET-0001",
    CloseReason.OVERLOADED: "NET-0000",
    CloseReason.INTERNAL: "NET-0000",
}


UTTERANCE_END_LATE_S: Final = 0.25
"""How late an `UtteranceEnd` may be."""


class DeepgramWire(Wire):
    """The words of one client. `Results` has the state of the channels."""

    name: ClassVar[WireName] = "deepgram"

    @classmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        return credentials_in(upgrade.headers, upgrade.subprotocols, SCHEMES)

    @classmethod
    def open(cls, upgrade: Upgrade, service: Service) -> DeepgramWire:
        listen = parse_listen(
            upgrade.query,
            min_silence_ms=min_silence_ms(service.config),
            options_schema=service.session_options.schema,
        )
        check_start(listen.start, service)
        return cls(listen, upgrade.request_id, service.model.name)

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        return refusal_answer(refusal, request_id)

    def __init__(self, listen: Listen, request_id: str, model: str) -> None:
        """`model`: the name of the model that the server serves."""
        self.start = listen.start
        if listen.utterance_end_s is not None:
            self.progress_s = UTTERANCE_END_LATE_S
        self._metadata = Metadata(request_id, model)
        self._received_s = 0.0
        self._results = Results(listen, self._metadata.of_result)

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return ((b"dg-request-id", self._metadata.request_id.encode()),)

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
            case Started(format=MediaFormat() as media):
                results.set_channels(media.channels)
                return ()
            case Progress():
                self._received_s = event.received_s
                return results.passed(event.received_s)
            case Finished():
                self._received_s = event.received_s
                return results.passed(event.received_s)
            case _:
                return ()

    def _errors(self, error: Error) -> Sequence[Mapping[str, Any]]:
        if error.code in USELESS:
            self.ending = Close(CloseReason.INVALID, error.code)
        variant = "SchemaError" if error.code == InvalidMessage.code else error.code
        told = {"type": "Error", "variant": variant, "description": error.message, "message": error.message}
        return (told,) if error.segment_id is UNSET else (told, *self._results.failed(error.channel, error.segment_id))

    def farewell(self, close: Close) -> Sequence[Message]:
        rest = list(self._results.rest())
        if close.reason in (CloseReason.COMPLETED, CloseReason.DRAINING):
            rest.append({"type": "Metadata", **self._metadata.at_end(self._received_s, self._results.n_channels)})
        return tuple(map(encode, rest))

    @property
    def _not_configured(self) -> dict[str, Any]:
        return {
            "type": "ConfigureFailure",
            "request_id": self._metadata.request_id,
            "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
            "description": "the options of a stream are those of its query",
        }

    def code_of(self, close: Close) -> int:
        return 1011 if close.reason is CloseReason.TIMEOUT else CLOSE_CODES[close.reason]

    def reason_of(self, close: Close) -> str:
        code = CLOSE_TEXTS.get(close.reason)
        return close.text if code is None else f"{code}: {close.text}" if close.text else code
