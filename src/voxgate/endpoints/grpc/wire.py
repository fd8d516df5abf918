"""What differs between the streaming methods: a class each, with an object for each client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from voxgate.protocol.closing import Close
from voxgate.protocol.events import Event
from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Start, Stop
from voxgate.protocol.wires import WireName
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Received

__all__ = ["FRAME_BYTES", "GrpcWire"]

FRAME_BYTES: Final = 1024
"""What a message has besides its audio."""


class GrpcWire(ABC):
    """The messages of one client of one streaming method. `StreamMethod` and `GrpcEndpoint` call everything, on the
    loop's thread.
    """

    name: ClassVar[WireName]
    carries_words: ClassVar[bool] = False
    """The method transports words: models without a text are refused."""

    first_bytes_limit: ClassVar[Literal["message_bytes", "recording_bytes"]] = "message_bytes"
    """The setting below `limits` for the size of the first message."""
    first_time_limit: ClassVar[Literal["start_timeout_s", "message_timeout_s"]] = "start_timeout_s"
    """The setting below `limits` for the time until the first message is complete."""
    late_text: ClassVar[str] = "no start within {:g} s of connecting"

    route: Route
    start: Start | None
    """Of the first session, if the first message brings it."""

    @classmethod
    @abstractmethod
    def open(cls, first: bytes, context: SessionContext, request_id: str) -> GrpcWire:
        """`first`: the first message of the client. Raises VoxgateError for one that the method cannot serve."""

    @property
    def opening(self) -> Sequence[Received]:
        """What the first message asks for."""
        return () if self.start is None else (self.start,)

    @abstractmethod
    def read(self, data: bytes) -> Sequence[Received]:
        """What a later message asks for, in order; audio as bytes. Raises VoxgateError for a message that cannot be
        parsed, which counts as an invalid message.
        """

    def at_half_close(self) -> Sequence[Received]:
        """What the end of the client's messages asks for."""
        return (Stop(disconnect=True),)

    @abstractmethod
    def encode(self, event: Event) -> Sequence[bytes]:
        """As `session.endpoint.Endpoint.encode`."""

    def farewell(self, close: Close) -> Sequence[bytes]:
        """Messages between the last event and the status."""
        return ()

    def end_of(self, close: Close) -> Close:
        """The end that the client gets as the status."""
        return close
