"""What differs between the websocket APIs: a class each, with an object for each client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from voxgate._native.text_audio import TextAudio
from voxgate.config import Config
from voxgate.endpoints.refusals import HttpAnswer, answer_of
from voxgate.errors import VoxgateError
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Event
from voxgate.protocol.formats import AudioFormat, check_format
from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Start
from voxgate.protocol.wires import WireName
from voxgate.service.access.addresses import Headers
from voxgate.service.admission import Refusal, RefusalKind
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Message, Received
from voxgate.session.timers import PROGRESS_S

__all__ = [
    "CLOSE_CODES",
    "Credentials",
    "Upgrade",
    "Wire",
    "check_start",
    "invalid_request",
    "not_served",
    "min_silence_ms",
    "why_no_words",
]

CLOSE_CODES: Mapping[CloseReason, int] = {
    CloseReason.COMPLETED: 1000,
    CloseReason.DRAINING: 1001,
    CloseReason.INVALID: 1008,
    CloseReason.TIMEOUT: 1008,
    CloseReason.UNAUTHORIZED: 1008,
    CloseReason.TOO_LARGE: 1009,
    CloseReason.INTERNAL: 1011,
    CloseReason.OVERLOADED: 1013,
}


class Credentials(NamedTuple):
    """What a client shows before the upgrade."""

    token: str | None = None
    """None: there is none; the empty string, which is never valid, stands for one that cannot be read."""
    subprotocol: str | None = None
    """Of those that the client offers, the one to answer; None: none."""


class Upgrade(NamedTuple):
    """The request for a websocket. `request_id` is new."""

    path: str
    query: bytes
    headers: Headers
    subprotocols: Sequence[str]
    request_id: str


class Wire(ABC):
    """The words of one client on one API. The class methods decide before the upgrade; `WebSocket` calls the rest, on
    the loop's thread, for one client from its acceptance to its end.
    """

    name: ClassVar[WireName]
    carries_words: ClassVar[bool] = True
    """The API transports words: models without a text are refused."""
    # Before the upgrade

    @classmethod
    @abstractmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        """The token in the header or the subprotocol that the API uses."""

    @classmethod
    @abstractmethod
    def open(cls, upgrade: Upgrade, service: Service) -> Wire:
        """The words for this client. Raises VoxgateError for a request that the API cannot serve."""

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        """The answer to a client that is not accepted."""
        return answer_of(refusal)

    # From the acceptance on

    start: Start | None = None
    """Given to the session before the first message; None: a message brings it."""

    progress_s: float = PROGRESS_S
    """Between two `Progress` events, if `start` asks for notices. Read once, at the acceptance."""

    text_audio: TextAudio | None = None
    """Finds audio in text messages, for a server that passes it on before `read` is called. None: audio is binary."""

    ending: Close | None = None
    """An event that the client got ends its stream: whatever it sends next is answered with this."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Headers of the response that accepts the client."""
        return ()

    @property
    def greeting(self) -> Sequence[Message]:
        """Sent before anything else."""
        return ()

    @abstractmethod
    def read(self, text: str) -> Sequence[Received]:
        """What a text message asks for, in order; audio as bytes. Raises VoxgateError for a message that cannot be
        parsed, which counts as an invalid message.
        """

    @abstractmethod
    def encode(self, event: Event) -> Sequence[Message]:
        """As `session.endpoint.Endpoint.encode`."""

    def farewell(self, close: Close) -> Sequence[Message]:
        """Messages between the last event and the close frame."""
        return ()

    def code_of(self, close: Close) -> int:
        """The code of the close frame."""
        return CLOSE_CODES[close.reason]

    def reason_of(self, close: Close) -> str:
        """The text of the close frame, at most 123 bytes."""
        return close.text


def min_silence_ms(config: Config) -> int:
    """The shortest silence, in ms, by which a client of another service's API may end a segment."""
    shortest_ms = config.endpoints.min_silence_ms
    return config.vad.silence_duration_ms if shortest_ms is None else shortest_ms


def check_start(start: Start, service: Service | SessionContext) -> None:
    """Raises InvalidStart for a format that the server does not take, and for options that the model does not: on these
    APIs the request to connect says them, and is refused. A container is checked when it comes.
    """
    limits = service.config.limits
    service.session_options.parse(start.options)
    if isinstance(start.format, AudioFormat):
        check_format(start.format, limits.channels, limits.min_sample_rate, limits.max_sample_rate)


def why_no_words(service: Service) -> str | None:
    """Why an API that carries words cannot serve the model, for people; None: it can, as far as is known."""
    if service.gives_text is False:
        return f"model {service.model.name!r} answers without a text, and this API carries words"
    return None


def not_served(service: Service, entry: Entry, route: Route, carries_words: bool, what: str) -> Refusal | None:
    """The refusal when the model cannot serve `route`, or has no words for an API that carries them. `what`: the
    subject of its text.
    """
    unserved = entry.why_unserved(route)
    if unserved is None and carries_words:
        unserved = why_no_words(service)
    if unserved is None:
        return None
    return Refusal(RefusalKind.NOT_SERVED, "not_served", f"{what} is not served: {unserved}")


def invalid_request(error: VoxgateError) -> Refusal:
    """The refusal for what `Wire.open` raises."""
    return Refusal(RefusalKind.INVALID, "invalid_request", str(error))
