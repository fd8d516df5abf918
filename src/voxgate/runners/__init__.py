"""One open session: the audio of all its channels becomes model calls, and their results become replies in audio order.

A runner for each route: :mod:`.simple`, :mod:`.segmented`, :mod:`.stateful`; :mod:`.base` is what they share, and says
how a runner is driven.
"""

from __future__ import annotations

from voxgate.protocol import Route

from .base import FEED_SLICE_S, Emit, LiveListener, Replies, Runner
from .segmented import SegmentedRunner
from .simple import SimpleRunner
from .stateful import StatefulRunner

__all__ = [
    "FEED_SLICE_S",
    "RUNNERS",
    "Emit",
    "LiveListener",
    "Replies",
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
