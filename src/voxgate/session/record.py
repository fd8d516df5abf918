"""The record of one session: its id, its trace, and its line in the log when it is over."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal

from voxgate.observe.tracing import parse_traceparent
from voxgate.protocol.closing import CloseReason
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start
from voxgate.runtime.logs import LogContext

if TYPE_CHECKING:
    from voxgate.service.client_info import ClientInfo
    from voxgate.session.context import SessionContext
    from voxgate.session.routes import Route, RouteHandler

__all__ = ["Outcome", "SessionRecord"]

logger = logging.getLogger("voxgate.session")


# Each session logs a line, up to so many in an interval of `logs.RateLimit` (a minute) over all clients: a few bytes
# open a session, so clients could otherwise fill the disk.
SESSION_LINES: Final = 1000

Outcome = Literal["finished", "abandoned", "closed"]


class SessionRecord:
    """The record of one open session, until :meth:`close`. Gives the handler its trace and its log context.

    Until the session is over, the log lines of `log_context`, the stream's, carry the ids of the session.
    """

    __slots__ = ("_client", "_handler", "_log_context", "_opened_s", "_route", "_trace", "session_id", "trace_id")

    def __init__(
        self,
        context: SessionContext,
        route: Route,
        start: Start,
        client: ClientInfo,
        handler: RouteHandler,
        log_context: LogContext,
    ) -> None:
        self.session_id: Final = client.request_id or uuid.uuid4().hex
        self._route = route
        self._client = client
        self._handler = handler
        self._log_context = log_context
        self._opened_s = time.monotonic()
        # The start wins: a browser cannot set headers, and a proxy's header describes the connection.
        parent = parse_traceparent(start.trace_id) or parse_traceparent(client.traceparent, client.tracestate)
        self._trace = None
        assert isinstance(start.format, AudioFormat)
        if context.tracing is not None:
            attributes: dict[str, Any] = {
                "voxgate.session.id": self.session_id,
                "voxgate.route": route,
                "voxgate.wire": client.wire,
                "voxgate.model": context.model.name,
                "voxgate.audio.encoding": start.format.pcm_encoding,
                "voxgate.audio.sample_rate": start.format.sample_rate,
                "voxgate.audio.channels": start.format.channels,
                "voxgate.interim_results": start.interim_results,
            }
            if client.address is not None:
                attributes["client.address"] = client.address
            self._trace = context.tracing.session(parent, attributes)
        self.trace_id: Final = (
            self._trace.trace_id if self._trace is not None else parent.trace_id if parent is not None else None
        )
        log_context.session, log_context.trace = self.session_id, self.trace_id
        # A context of its own: a call may end when the next session is open.
        handler.log_context = LogContext(self.session_id, self.trace_id)
        handler.trace = self._trace

    def close(self, outcome: Outcome, reason: CloseReason | None = None, close_code: int | None = None) -> None:
        """The session is over: `finished`, `abandoned` by its client, or `closed` by the server. `reason` and
        `close_code` are those of the stream, when it ends with the session.
        """
        handler = self._handler
        totals: dict[str, Any] = {
            "received_s": round(handler.received_s, 3),
            "processed_s": round(handler.processed_s, 3),
            "results": handler.results,
            "errors": handler.errors,
            "most_lag_s": round(handler.most_lag_s, 3),
            "real_time_factor": round(handler.real_time_factor, 4),
        }
        fields = {
            "route": self._route,
            "wire": self._client.wire,
            "outcome": outcome,
            **({} if close_code is None else {"close_code": close_code}),
            "duration_s": round(time.monotonic() - self._opened_s, 3),
            **totals,
            **({} if self._client.address is None else {"client": self._client.address}),
            **({} if self._client.identity is None else {"identity": self._client.identity}),
        }
        logger.info("session over", extra={"fields": fields, "burst": SESSION_LINES})
        if self._trace is not None:
            attributes = {f"voxgate.{name}": value for name, value in totals.items()}
            if close_code is not None:
                attributes["voxgate.close_code"] = close_code
            self._trace.end(outcome, attributes, failed=reason is CloseReason.INTERNAL)
        self._log_context.session = self._log_context.trace = None
