"""One open session: the audio of all its channels becomes model calls, and their results become replies in audio order.

A runner for each route: :mod:`.simple`, :mod:`.segmented`, :mod:`.stateful`; :mod:`.base` is what they share, and says
how a runner is driven.
"""

from __future__ import annotations

from voxgate.protocol.machine import Route
from voxgate.session.routes.base import FEED_SLICE_S, Emit, LiveListener, ReorderBuffer, Runner
from voxgate.session.routes.segmented import SegmentedRunner
from voxgate.session.routes.simple import SimpleRunner
from voxgate.session.routes.stateful import StatefulRunner

__all__ = [
    "FEED_SLICE_S",
    "RUNNERS",
    "Emit",
    "LiveListener",
    "ReorderBuffer",
    "Route",
    "Runner",
    "SegmentedRunner",
    "SimpleRunner",
    "StatefulRunner",
]

RUNNERS: dict[Route, type[SimpleRunner] | type[SegmentedRunner] | type[StatefulRunner]] = {
    "simple": SimpleRunner,
    "segmented": SegmentedRunner,
    "stateful": StatefulRunner,
}
