"""What waits in the inbox of a session, and what the machine makes of it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from voxgate.audio.containers import MediaError
from voxgate.errors import VoxgateError
from voxgate.protocol.closing import Close
from voxgate.protocol.machine import Action, Audio, SessionMachine
from voxgate.protocol.requests import Request
from voxgate.session.decoding import Undecoded
from voxgate.session.endpoint import Received, Rejected

__all__ = ["Ending", "Incoming", "actions_of"]


class Ending(NamedTuple):
    """A message that the server itself puts into the inbox: finish the session, send `error`, close the stream."""

    close: Close
    error: VoxgateError | None = None


Incoming: TypeAlias = Received | Ending | Undecoded | MediaError
"""The messages of the client, and what the session adds to them. An error is that of a container."""


def actions_of(message: Request | bytes | Rejected | MediaError, machine: SessionMachine) -> tuple[Action, ...]:
    """The machine's answer to a message."""
    if isinstance(message, MediaError):
        return machine.receive_media_error(message)
    if isinstance(message, bytes):
        actions = machine.receive_audio(message)
        return (Audio(message),) if actions is None else actions
    if not isinstance(message, Rejected):
        return machine.receive(message)
    actions = () if message.error is None else machine.receive_invalid(message.error)
    return actions if message.close is None else (*actions, *machine.receive_close(message.close))
