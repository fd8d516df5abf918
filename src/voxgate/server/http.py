"""HTTP: limits for the time and size of a request, and for an answer that a client does not read.

A body of any length passes as soon as the application asks for it (`receive`), and no faster than the application
takes it, also while it answers already. A body that nobody asks for has the limits of the headers.

Live audio does not wake the application's task: with the extension `SHORTCUT` of the scope, as on a websocket, the
application sets a listener, which is offered the pieces of the body as they arrive.

Requests that the application cannot answer are refused here, in JSON like all other refusals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from voxgate._native.websocket import TURN_BYTES, TURN_FRAMES
from voxgate.config import Config
from voxgate.server import handshake
from voxgate.server.closing import Closing, limit_probing, unsent_bytes
from voxgate.server.handshake import Refused
from voxgate.server.websocket import SHORTCUT

# Of the headers and a body that the application does not read; between the bytes of one that it reads, of the framing.
REQUEST_BYTES = 65_536
# Requests that a client may send before it has their answers.
PIPELINED_REQUESTS = 16

NO_REQUEST = Refused(400, "bad_request", "expected an HTTP request")
TOO_LARGE = Refused(431, "request_too_large", f"expected at most {REQUEST_BYTES} bytes of headers")
BODY_TOO_LARGE = Refused(413, "request_too_large", f"expected at most {REQUEST_BYTES} bytes of headers and body")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_MANY = Refused(400, "bad_request", f"expected at most {PIPELINED_REQUESTS} requests ahead of their answers")
NOT_ANSWERED = Refused(400, "bad_request", "expected the upgrade after the answer to the request before it")
BODY = Refused(400, "bad_handshake", "expected no body in the request for a websocket")

# What is used of uvicorn although its name is private. A test compares this with the code, and with uvicorn.
PRIVATE_OF_UVICORN = ("_should_upgrade", "_start_asgi_task", "_unset_keepalive_if_required")


class HttpProtocol(HttpToolsProtocol):
    """One connection, until it becomes a websocket. Each server has a subclass with its own `settings`.

    From its beginning, and after each answer, a connection has `limits.handshake_timeout_s` to complete the next
    request; then it is aborted. The time of a body that the application reads is the application's to bound. An answer
    that is not read has `limits.handshake_timeout_s` too, and `server.send_timeout_s` beside a body that is read.
    """

    settings: Config

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._n_request_bytes = 0
        self._has_headers = False  # of the incomplete request
        self._n_unsent_bytes = 0  # when the wait for a request began
        self._n_unread_bytes = 0  # when the application was last stopped from writing
        self._timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._has_sent = False  # since the look before
        self._answering: RequestResponseCycle | None = None
        self._reading: RequestResponseCycle | None = None  # the application has asked for its body
        self._held = b""  # of a body that the application has not asked for
        self._listener: Callable[[bytes], bool] | None = None  # of the body that is read
        self._n_turn_bytes = 0  # that it may still be offered in this turn of the loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_send_timer()
        self._held = b""
        if self._answering is not None:  # uvicorn notifies the newest request, which may not have begun
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        scope: Any = cycle.scope
        extensions = scope.setdefault("extensions", {})

        def listen(listener: Callable[[bytes], bool] | None) -> None:
            self._listener = listener if self._reading is cycle else None

        def receive_body(receive: Any) -> Any:
            async def receive_piece() -> Any:
                if self._reading is not cycle:
                    self._read_body(cycle)
                return await receive()

            return receive_piece

        def send_beside_body(send: Any) -> Any:
            async def send_piece(message: Any) -> None:
                if not cycle.more_body:
                    await send(message)
                elif message["type"] == "http.response.start":
                    if cycle.waiting_for_100_continue and message["status"] < 300 and not self.transport.is_closing():
                        self.transport.write(CONTINUE)  # the answer begins before the body is read
                    await send(message)
                else:
                    is_last = not message.get("more_body", False)
                    ends = is_last and not cycle.keep_alive
                    if ends:
                        cycle.keep_alive = True  # uvicorn would close; see `closing`
                    await send(message)
                    if is_last and (ends or self._held or self._reading is cycle) and not cycle.disconnected:
                        self._end()

            return send_piece

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            extensions[SHORTCUT] = listen
            try:
                await app(scope, receive_body(receive), send_beside_body(send))
            except asyncio.CancelledError:
                # The server ends and its loop cancels a request whose connection is closed already. uvicorn would log
                # the stack as an error of the application.
                if not cycle.disconnected:
                    raise
            finally:
                extensions.pop(SHORTCUT)  # a cycle, which would live until the next garbage collection
                if self._reading is cycle:
                    self._listener = None

        super()._start_asgi_task(cycle, answer)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._n_turn_bytes = TURN_BYTES
        if self._held:
            self._held += data
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        pos = 0
        while pos < len(data):
            room = REQUEST_BYTES - self._n_request_bytes
            if room <= 0:
                if self._may_be_asked_for:
                    self._held = data[pos:]
                    self.flow.pause_reading()
                else:
                    self._refuse(BODY_TOO_LARGE if self._has_headers else TOO_LARGE)
                return
            piece = data[pos : pos + room]
            pos += len(piece)
            self._n_request_bytes += len(piece)
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._should_upgrade():
                    return  # to another protocol: the request is answered like any other
                # The bytes behind the request are the first frames of the websocket.
                self._upgrade(piece[upgrade.args[0] :] + data[pos:])
                return
            except httptools.HttpParserError:
                self._refuse(TOO_MANY if len(self.pipeline) > PIPELINED_REQUESTS else NO_REQUEST)
                return

    @property
    def _may_be_asked_for(self) -> bool:
        """The body that arrives has no reader yet, but may get one."""
        cycle = self.cycle
        return self._has_headers and not cycle.response_complete and self._reading is not cycle

    def _read_body(self, cycle: RequestResponseCycle) -> None:
        """The application asks for the body for the first time."""
        self._reading, self._listener = cycle, None
        if cycle is not self.cycle or not self._has_headers:
            return  # it is complete
        self._stop_timer()
        self._n_request_bytes = 0
        held, self._held = self._held, b""
        if held and not self.transport.is_closing():
            self._parse(held)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        is_read = self._reading is cycle and not cycle.response_complete
        if is_read:
            self._n_request_bytes = 0
        # What waits in `body` comes first.
        if is_read and self._listener is not None and self._n_turn_bytes > 0 and not cycle.body:
            self._n_turn_bytes -= max(len(body), TURN_BYTES // TURN_FRAMES)
            if self._listener(body):
                return
        super().on_body(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_headers:  # otherwise it is a trailer
            super().on_header(name, value)

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
        """`frames`: the bytes that came behind the request."""
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self._refuse(NOT_ANSWERED)  # its answer would end up among the websocket's frames
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
        websocket.start_reading()
        self.parser = None  # type: ignore[assignment]  # it refers to this object
        websocket.begin(handshake.scope_of(scope, self.url), answer)
        if frames:
            websocket.data_received(frames)

    def _refuse(self, refused: Refused) -> None:
        """Answers in place of the application, and closes the connection."""
        self._stop_timer()
        self._stop_send_timer()
        self._held = b""
        if self.transport.is_closing():
            return
        is_answered = self._has_headers and self.cycle is not None and self.cycle.response_started
        self.pipeline.clear()
        for cycle in (self.cycle, self._answering):
            if cycle is not None:
                cycle.disconnected = True  # it sends nothing more
                cycle.message_event.set()
        if not is_answered:  # with a body that is still arriving
            self.transport.write(handshake.encode_refusal(refused))
        Closing(self.loop, self.transport, self, self.settings.server.send_timeout_s)

    def _end(self) -> None:
        """Closes the connection behind an answer whose request has not arrived in full."""
        self._stop_timer()
        self._stop_send_timer()
        self._unset_keepalive_if_required()
        self._held = b""
        if not self.transport.is_closing():
            Closing(self.loop, self.transport, self, self.settings.server.send_timeout_s)

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
            self._wait_for_request()  # the client is still reading the answer before
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._has_sent = False
        if self._send_timer is None:
            limit_probing(self.transport, None)
            self._watch_sending()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._has_sent = True

    def _watch_sending(self) -> None:
        settings, answering = self.settings, self._answering
        is_stream = answering is not None and answering is self._reading
        timeout_s = settings.server.send_timeout_s if is_stream else settings.limits.handshake_timeout_s
        self._has_sent = False
        self._n_unread_bytes = unsent_bytes(self.transport)
        self._send_timer = self.loop.call_later(timeout_s, self._check_sending)

    def _check_sending(self) -> None:
        self._send_timer = None
        if not self.flow.write_paused:
            limit_probing(self.transport, self.settings.server.send_timeout_s)
            return
        if self._has_sent or unsent_bytes(self.transport) < self._n_unread_bytes:
            self._watch_sending()
        else:
            self.transport.abort()

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
