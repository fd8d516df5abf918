"""HTTP before the upgrade: a request has a time and a size, and an answer that nobody reads has an end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from voxgate.config import Config

# Of one request, its headers above all; a body is of no use here.
REQUEST_BYTES = 65_536
# Requests that may be sent ahead of the answers.
PIPELINED_REQUESTS = 16


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it becomes a websocket. `settings` are those of a subclass that is made for one server.

    A connection has `limits.handshake_timeout_s` from its beginning, and from each answer, until the next request is
    complete; then it is cut off.
    """

    settings: Config

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._n_request_bytes = 0
        self._n_unsent_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._answering is not None:  # uvicorn tells only the last of those that came, which may not have begun
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        self._n_request_bytes += len(data)
        if self._n_request_bytes > REQUEST_BYTES:
            if not self.transport.is_closing():
                self.send_400_response("Request too large")
            return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED_REQUESTS:
            raise ValueError("too many requests at once")  # answered with 400

    def on_message_complete(self) -> None:
        self._n_request_bytes = 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._wait_for_request()

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            # Its answer would stand in the midst of the websocket's frames.
            self.send_400_response("The request before is not answered yet")
            return
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it knows this object, which knows the transport

    def _wait_for_request(self) -> None:
        self._stop_timer()
        self._n_unsent_bytes = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self.settings.limits.handshake_timeout_s, self._check)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        if self.transport.get_write_buffer_size() < self._n_unsent_bytes:
            self._wait_for_request()  # it is still taking in the answer before
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_request()  # an answer that is not taken in ends like a request that does not come
