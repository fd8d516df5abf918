"""What is said about one session beside its results: its id, its trace, and its line in the log when it is over."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from voxgate.observe.tracing import Parent, parse_traceparent
from voxgate.protocol.requests import Start
from voxgate.runtime.logs import LogContext

if TYPE_CHECKING:
    from voxgate.service.service import Service
    from voxgate.session.routes import Route, RouteHandler

__all__ = ["UNKNOWN_CLIENT", "SessionRecord", "ClientInfo", "Outcome"]

logger = logging.getLogger("voxgate.session")


# Each session has a line, up to so many in an interval of `logs.RateLimit` (a minute), over all connections: a few
# bytes open a session, and a connection is soon made, so that clients could fill the disk.
SESSION_LINES: Final = 1000

Outcome = Literal["finished", "abandoned", "closed"]


class ClientInfo(NamedTuple):
    """Who opened the websocket, as far as the upgrade told."""

    address: str | None = None
    """Without the port; behind a trusted proxy, that of the proxy's client."""
    traceparent: str | None = None
    """As it came, valid or not."""
    tracestate: str | None = None

    @property
    def parent(self) -> Parent | None:
        return parse_traceparent(self.traceparent, self.tracestate)


UNKNOWN_CLIENT: Final = ClientInfo()


class SessionRecord:
    """Of one open session, from its opening to :meth:`close`. Tells the runner for whom it works.

    `context` is that of the connection: until the session is over, the connection's log lines carry its ids.
    """

    def __init__(
        self,
        service: Service,
        route: Route,
        start: Start,
        caller: ClientInfo,
        runner: RouteHandler,
        context: LogContext,
    ) -> None:
        self.session_id: Final = uuid.uuid4().hex
        self._route = route
        self._caller = caller
        self._runner = runner
        self._context = context
        self._opened_s = time.monotonic()
        # The message wins: a browser cannot set headers, and a proxy's header is about the connection.
        parent = parse_traceparent(start.trace_id) or caller.parent
        self._trace = None
        if service.tracing is not None:
            attributes: dict[str, Any] = {
                "voxgate.session.id": self.session_id,
                "voxgate.route": route,
                "voxgate.model": service.model.name,
                "voxgate.audio.encoding": start.format.pcm_encoding,
                "voxgate.audio.sample_rate": start.format.sample_rate,
                "voxgate.audio.channels": start.format.channels,
                "voxgate.interim_results": start.interim_results,
            }
            if caller.address is not None:
                attributes["client.address"] = caller.address
            self._trace = service.tracing.session(parent, attributes)
        self.trace_id: Final = (
            self._trace.trace_id if self._trace is not None else parent.trace_id if parent is not None else None
        )
        context.session, context.trace = self.session_id, self.trace_id
        # Of its own: a call may end when the connection's next session is open.
        runner.log_context = LogContext(self.session_id, self.trace_id)
        runner.trace = self._trace

    def close(self, outcome: Outcome, close_code: int | None) -> None:
        """The session is over: `finished`, `abandoned` by its client, or `closed` by us. `close_code`: of the
        websocket, where it ends with the session.
        """
        runner = self._runner
        totals: dict[str, Any] = {
            "received_s": round(runner.received_s, 3),
            "processed_s": round(runner.processed_s, 3),
            "results": runner.results,
            "errors": runner.errors,
            "most_lag_s": round(runner.most_lag_s, 3),
            "real_time_factor": round(runner.real_time_factor, 4),
        }
        fields = {
            "route": self._route,
            "outcome": outcome,
            **({} if close_code is None else {"close_code": close_code}),
            "duration_s": round(time.monotonic() - self._opened_s, 3),
            **totals,
            **({} if self._caller.address is None else {"client": self._caller.address}),
        }
        logger.info("session over", extra={"fields": fields, "burst": SESSION_LINES})
        if self._trace is not None:
            attributes = {f"voxgate.{name}": value for name, value in totals.items()}
            if close_code is not None:
                attributes["voxgate.close_code"] = close_code
            self._trace.end(outcome, attributes, failed=close_code == 1011)
        self._context.session = self._context.trace = None
