"""The metrics of emitted segments."""

from __future__ import annotations

import time

from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Event, Segment
from voxgate.protocol.machine import Route
from voxgate.session.routes.reorder import PendingReply

__all__ = ["SegmentMetrics"]


class SegmentMetrics:
    """Counts the segments of one session, and measures how soon they came. It does not refer to the route's handler,
    which would be a reference cycle through the reorder buffers.
    """

    def __init__(self, tally: Tally, route: Route, n_channels: int) -> None:
        self._tally = tally
        self._route = route
        self.began_s: list[float | None] = [None] * n_channels
        """When the start of each channel's open segment was detected, by `time.perf_counter`; None: no segment is open,
        or it already has an interim."""

    def on_emitted(self, event: Event, reply: PendingReply) -> None:
        if not isinstance(event, Segment):
            return
        tally = self._tally
        if event.is_final is False:
            tally.segments[self._route, "interim"] += 1
            began_s, self.began_s[event.channel] = self.began_s[event.channel], None
            if began_s is not None:
                tally.first_interim_s.observe(time.perf_counter() - began_s)
        else:
            tally.segments[self._route, "final"] += 1
            if event.is_final is True:
                tally.final_s.observe(time.perf_counter() - reply.since_s)
