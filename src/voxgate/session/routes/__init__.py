"""The routes: how the audio of a session becomes model calls, and their results become replies in audio order.

A handler for each route: :mod:`.simple`, :mod:`.segmented` (:mod:`.manual` when the client ends the segments itself,
:mod:`.turn_taking` with a turn detector), :mod:`.stateful`. They share :mod:`.base` (audio in), :mod:`.calls` (model
calls) and :mod:`.reorder` (replies out).
"""

from __future__ import annotations

from collections.abc import Callable

from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import FEED_SLICE_S, LiveListener, RouteHandler
from voxgate.session.routes.manual import ManualHandler
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.session.routes.segmented import SegmentedHandler, turn_of
from voxgate.session.routes.simple import SimpleHandler
from voxgate.session.routes.stateful import StatefulHandler
from voxgate.session.routes.turn_taking import TurnHandler

__all__ = ["FEED_SLICE_S", "HANDLERS", "Emit", "LiveListener", "Route", "RouteHandler", "RouteParts", "open_route"]

HANDLERS: dict[Route, type[SimpleHandler] | type[SegmentedHandler] | type[StatefulHandler]] = {
    "simple": SimpleHandler,
    "segmented": SegmentedHandler,
    "stateful": StatefulHandler,
}


def open_route(
    route: Route, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]
) -> RouteHandler:
    """Opens a session on `route`. `emit` gets every event at once and must not block; `on_progress` is called after
    each result. On the loop's thread.
    """
    if route == "segmented" and start.segmentation == "manual":
        return ManualHandler(parts, start, emit, on_progress)
    if route == "segmented" and turn_of(parts, start) is not None:
        return TurnHandler(parts, start, emit, on_progress)
    return HANDLERS[route](parts, start, emit, on_progress)
