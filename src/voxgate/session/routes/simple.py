"""The simple route: independent calls."""

from __future__ import annotations

from voxgate.session.routes.grouped import GroupedHandler

__all__ = ["SimpleHandler"]


class SimpleHandler(GroupedHandler):
    """Calls of a stream run at once, at most `inference.per_stream` of them; answers come in audio order."""

    route = "simple"

    def _dispatch(self) -> None:
        while len(self.calls) < self._per_stream:
            waiting = list(map(len, self._rings))
            most = max(waiting)
            channel = waiting.index(most)
            if not most or not self._is_due(channel):
                return
            call = self._new_call(channel, *self._next_group(channel), segment_id=self._take_id(channel))
            self._submit(call)
