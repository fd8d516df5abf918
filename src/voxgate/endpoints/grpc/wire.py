"""What differs between the streaming methods: a class each, with an object for each client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from voxgate.protocol.closing import Close
from voxgate.protocol.events import Event
from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Start
from voxgate.protocol.wires import WireName
from voxgate.session.context import SessionContext
from voxgate.session.endpoint import Received

__all__ = ["GrpcWire"]


class GrpcWire(ABC):
    """The messages of one client of one streaming method. `StreamMethod` and `GrpcEndpoint` call everything, on the
    loop's thread.
    """

    name: ClassVar[WireName]
    carries_words: ClassVar[bool] = False
    """The method transports words: models without a text are refused."""

    route: Route
    start: Start
    """Of the first session; the first message brings it."""

    @classmethod
    @abstractmethod
    def open(cls, first: bytes, context: SessionContext) -> GrpcWire:
        """`first`: the first message of the client. Raises VoxgateError for one that the method cannot serve."""

    @abstractmethod
    def read(self, data: bytes) -> Received:
        """What a message asks for; audio as bytes. Raises VoxgateError for a message that cannot be parsed, which
        counts as an invalid message.
        """

    @abstractmethod
    def encode(self, event: Event) -> Sequence[bytes]:
        """As `session.endpoint.Endpoint.encode`."""

    def farewell(self, close: Close) -> Sequence[bytes]:
        """Messages between the last event and the status."""
        return ()
