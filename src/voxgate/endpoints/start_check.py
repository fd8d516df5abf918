"""Whether a session would open, before it exists: then the status of the answer can still say why not."""

from __future__ import annotations

from voxgate.errors import InvalidStart
from voxgate.protocol.events import Error
from voxgate.protocol.machine import Reply, Route, SessionMachine
from voxgate.protocol.requests import Start
from voxgate.session.context import SessionContext

__all__ = ["check_opens"]


def check_opens(start: Start, route: Route, context: SessionContext) -> None:
    """Raises InvalidStart for a start that a session on `route` would refuse."""
    machine = SessionMachine(
        context.config.limits,
        context.vad,
        route,
        check_options=context.session_options.parse,
        turn=context.turn,
    )
    for action in machine.receive(start):
        if isinstance(action, Reply) and isinstance(action.event, Error):
            raise InvalidStart(action.event.message)
