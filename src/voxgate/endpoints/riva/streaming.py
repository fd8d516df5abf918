"""`StreamingRecognize`: a configuration, then audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from google.protobuf.message import DecodeError
from msgspec import UNSET

from voxgate.endpoints.grpc.wire import GrpcWire
from voxgate.endpoints.riva.config import HEAD_BYTES, Recognition, parse_config, request_id_of
from voxgate.endpoints.riva.failure import Failure
from voxgate.endpoints.riva.results import empty_result, streaming_result
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.proto.riva import StreamingRecognizeRequest
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error, Event, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Stop
from voxgate.protocol.wires import WireName
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Received, Rejected

__all__ = ["RivaStreaming"]

_EXPECTED: Final = "message: expected streaming_config first, then audio_content, got "


class RivaStreaming(GrpcWire):
    """One call. An utterance that fails is an empty final, and the call ends with the error as its status."""

    name: ClassVar[WireName] = "riva"
    carries_words: ClassVar[bool] = True
    route: Route = "segmented"

    def __init__(self, recognition: Recognition, request_id: str) -> None:
        self._recognition = recognition
        self._id = request_id
        # Raw samples may turn out to be a WAV file: then the start is another one.
        is_raw = isinstance(recognition.start.format, AudioFormat)
        self._head: bytes | None = b"" if is_raw else None
        self.start = None if is_raw else recognition.start
        self._end_s: dict[int, float] = {}  # channel -> the end of its last speech
        self._failure = Failure()

    @classmethod
    def open(cls, first: bytes, context: SessionContext, request_id: str) -> RivaStreaming:
        message = _parsed(first)
        kind = message.WhichOneof("streaming_request")
        if kind != "streaming_config":
            raise InvalidMessage(_EXPECTED + (kind or "nothing"))
        config = message.streaming_config
        recognition = parse_config(config.config, context, interim_results=config.interim_results)
        return cls(recognition, request_id_of(message, request_id))

    def read(self, data: bytes) -> Sequence[Received]:
        message = _parsed(data)
        if message.WhichOneof("streaming_request") == "streaming_config":
            raise InvalidMessage(f"{_EXPECTED}streaming_config again")
        audio: bytes = message.audio_content
        return (audio,) if self._head is None else self._begin(audio, is_all=False)

    def at_half_close(self) -> Sequence[Received]:
        begun = () if self._head is None else self._begin(b"", is_all=True)
        return (*begun, Stop(disconnect=True))

    def _begin(self, audio: bytes, is_all: bool) -> Sequence[Received]:
        """The start, once the first bytes have told which, and the audio so far."""
        assert self._head is not None
        before = self._head
        try:
            start = self._recognition.start_of(before + audio[:HEAD_BYTES], is_all)
        except InvalidStart as error:
            return (Rejected(close=Close(CloseReason.INVALID, str(error))),)
        if start is None:
            self._head = before + audio
            return ()
        self._head = None
        return (start, *(part for part in (before, audio) if part))

    def encode(self, event: Event) -> Sequence[bytes]:
        match event:
            case Segment():
                return (streaming_result(event, self._recognition, self._id),)
            case Inactive():
                self._end_s[event.channel] = event.time
            case Error():
                self._failure.add(event)
                if event.segment_id is not UNSET:
                    return (empty_result(event.channel, self._end_s.get(event.channel, 0.0), self._id),)
        return ()

    def end_of(self, close: Close) -> Close:
        return self._failure.end_of(close)


def _parsed(data: bytes) -> Any:
    try:
        return StreamingRecognizeRequest.FromString(data)
    except DecodeError:
        raise InvalidMessage(f"{_EXPECTED}bytes that are no StreamingRecognizeRequest") from None
