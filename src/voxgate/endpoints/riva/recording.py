"""`Recognize`: a whole recording in one message, and its results in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from google.protobuf.message import DecodeError

from voxgate.endpoints.grpc.wire import GrpcWire
from voxgate.endpoints.riva.config import Recognition, parse_config, request_id_of
from voxgate.endpoints.riva.failure import Failure
from voxgate.endpoints.riva.results import recording_results
from voxgate.errors import InternalError, InvalidMessage
from voxgate.proto.riva import RecognizeRequest
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error, Event, Segment
from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Start
from voxgate.protocol.wires import WireName
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Received

__all__ = ["RivaRecording"]


class RivaRecording(GrpcWire):
    """One call. It is served as a stream of one message, which is the same on the wire: so the client is admitted
    before its recording is read. A missing utterance would look like silence: one that fails fails the whole.
    """

    name: ClassVar[WireName] = "riva"
    carries_words: ClassVar[bool] = True
    first_bytes_limit: ClassVar[Literal["message_bytes", "recording_bytes"]] = "recording_bytes"
    first_time_limit: ClassVar[Literal["start_timeout_s", "message_timeout_s"]] = "message_timeout_s"
    late_text: ClassVar[str] = "the recording was not complete within {:g} s (limits.message_timeout_s)"
    route: Route = "segmented"

    def __init__(self, recognition: Recognition, start: Start, audio: bytes, request_id: str) -> None:
        self.start = start
        self._recognition = recognition
        self._audio = audio
        self._id = request_id
        self._segments: list[Segment] = []
        self._failure = Failure()

    @classmethod
    def open(cls, first: bytes, context: SessionContext, request_id: str) -> RivaRecording:
        try:
            message = RecognizeRequest.FromString(first)
        except DecodeError:
            raise InvalidMessage("message: expected a RecognizeRequest, got other bytes") from None
        recognition = parse_config(message.config, context)
        start = recognition.start_of(message.audio, True)
        assert start is not None
        return cls(recognition, start, message.audio, request_id_of(message, request_id))

    @property
    def opening(self) -> Sequence[Received]:
        audio, self._audio = self._audio, b""
        assert self.start is not None
        return (self.start, audio) if audio else (self.start,)

    def read(self, data: bytes) -> Sequence[Received]:
        raise InvalidMessage("message: expected one RecognizeRequest, got another")

    def encode(self, event: Event) -> Sequence[bytes]:
        if isinstance(event, Segment):
            self._segments.append(event)
        elif isinstance(event, Error):
            self._failure.add(event)
        return ()

    def farewell(self, close: Close) -> Sequence[bytes]:
        if self._failure or close.reason is not CloseReason.COMPLETED:
            return ()
        try:
            return (recording_results(self._segments, self._recognition, self._id),)
        except InternalError as error:
            self._failure.add(Error(str(error), error.code))
            return ()

    def end_of(self, close: Close) -> Close:
        return self._failure.end_of(close)
