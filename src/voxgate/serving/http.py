"""HTTP before the upgrade: a request has a time and a size, and an answer that nobody reads has an end.

What is no request that the application could answer is refused here, with JSON like everything else.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from voxgate.config import Config

from . import handshake
from .closing import Closing
from .handshake import Refused

# Of one request, its headers above all; a body is of no use here.
REQUEST_BYTES = 65_536
# Requests that may be sent ahead of the answers.
PIPELINED_REQUESTS = 16

NO_REQUEST = Refused(400, "bad_request", "this is no HTTP request")
TOO_LARGE = Refused(431, "request_too_large", f"expected at most {REQUEST_BYTES} bytes of headers")
BODY_TOO_LARGE = Refused(413, "request_too_large", f"expected at most {REQUEST_BYTES} bytes of headers and body")
TOO_MANY = Refused(400, "bad_request", f"expected at most {PIPELINED_REQUESTS} requests ahead of their answers")
NOT_ANSWERED = Refused(400, "bad_request", "the upgrade came before the answer to the request in front of it")
BODY = Refused(400, "bad_handshake", "expected no body in the request for a websocket")

# What is used of uvicorn although its name is private. A test compares this with the code, and with uvicorn.
PRIVATE_OF_UVICORN = ("_should_upgrade", "_start_asgi_task", "_unset_keepalive_if_required")


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it becomes a websocket. `settings` are those of a subclass that is made for one server.

    A connection has `limits.handshake_timeout_s` from its beginning, and from each answer, until the next request is
    complete; then it is cut off.
    """

    settings: Config

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._n_request_bytes = 0
        self._has_headers = False  # of the request that is not complete
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
        self._unset_keepalive_if_required()
        pos = 0
        while pos < len(data):
            room = REQUEST_BYTES - self._n_request_bytes
            if room <= 0:
                self._refuse(BODY_TOO_LARGE if self._has_headers else TOO_LARGE)
                return
            piece = data[pos : pos + room]
            pos += len(piece)
            self._n_request_bytes += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._should_upgrade():
                    return  # to something else: the request is answered like any other
                # What stands behind the request are the first frames of the websocket.
                self._upgrade(piece[upgrade.args[0] :] + data[pos:])
                return
            except httptools.HttpParserError:
                self._refuse(TOO_MANY if len(self.pipeline) > PIPELINED_REQUESTS else NO_REQUEST)
                return

    def on_headers_complete(self) -> None:
        self._has_headers = True
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED_REQUESTS:
            raise ValueError("too many requests at once")

    def on_message_complete(self) -> None:
        self._n_request_bytes = 0
        self._has_headers = False
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._wait_for_request()

    def _upgrade(self, frames: bytes) -> None:
        """`frames`: what has come behind the request."""
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse(NOT_ANSWERED)  # its answer would stand in the midst of the websocket's frames
            return
        if handshake.has_body(self.headers):
            self._refuse(BODY)
            return
        scope: Any = self.scope
        answer = handshake.check(scope["method"], self.url, scope["http_version"], self.headers)
        if isinstance(answer, Refused):
            self._refuse(answer)
            return
        self.connections.discard(self)
        kind: Any = self.ws_protocol_class
        websocket = kind(config=self.config, server_state=self.server_state, app_state=self.app_state)
        websocket.connection_made(self.transport)
        # uvloop gives what it reads to the buffer of a BufferedProtocol from the next start of reading on.
        self.transport.pause_reading()
        self.transport.set_protocol(websocket)
        self.transport.resume_reading()
        self.parser = None  # type: ignore[assignment]  # it refers to this object
        websocket.begin(handshake.scope_of(scope, self.url), answer)
        if frames:
            websocket.data_received(frames)

    def _refuse(self, refused: Refused) -> None:
        """Answers in place of the application, and ends the connection."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        is_answered = self._has_headers and self.cycle is not None and self.cycle.response_started
        self.pipeline.clear()
        for cycle in (self.cycle, self._answering):
            if cycle is not None:
                cycle.disconnected = True  # it writes nothing more
                cycle.message_event.set()
        if not is_answered:  # while its body was still coming
            self.transport.write(handshake.encode_refusal(refused))
        Closing(self.loop, self.transport, self)

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
