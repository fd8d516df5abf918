"""A session machine that is given the messages of the native wire, as its endpoint would give them."""

from __future__ import annotations

from voxgate.errors import InvalidMessage
from voxgate.protocol.json_codec import parse_request
from voxgate.protocol.machine import Action, Audio, SessionMachine

__all__ = ["receive"]


def receive(machine: SessionMachine, message: str | bytes) -> tuple[Action, ...]:
    """Text is a request, bytes are audio."""
    if isinstance(message, bytes):
        actions = machine.receive_audio(message)
        return (Audio(message),) if actions is None else actions
    try:
        return machine.receive(parse_request(message))
    except InvalidMessage as error:
        return machine.receive_invalid(error)
