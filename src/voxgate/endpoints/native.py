"""The native wire: JSON and binary audio over a websocket, as docs/protocol.md describes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from voxgate.endpoints.wire import Credentials, Upgrade, Wire
from voxgate.protocol.events import Event, Flushed
from voxgate.protocol.json_codec import encode_event, parse_request
from voxgate.protocol.wires import WireName
from voxgate.service.access import SUBPROTOCOL, credentials_of
from voxgate.service.service import Service
from voxgate.session.endpoint import Message, Received

__all__ = ["NativeWire"]


class NativeWire(Wire):
    """Each text message is one request, and each event one text message."""

    name: ClassVar[WireName] = "native"
    carries_words: ClassVar[bool] = False

    @classmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in upgrade.subprotocols else None
        return Credentials(credentials_of(upgrade.headers, upgrade.subprotocols), subprotocol)

    @classmethod
    def open(cls, upgrade: Upgrade, service: Service) -> NativeWire:
        return cls()

    def read(self, text: str) -> Sequence[Received]:
        return (parse_request(text),)

    def encode(self, event: Event) -> Sequence[Message]:
        return () if type(event) is Flushed else (encode_event(event),)
