"""uvicorn on uvloop, set up for long-lived streams, with a drain that always ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn

from voxgate.endpoints.asgi import Started, create_app
from voxgate.endpoints.grpc.needs import check_installed
from voxgate.runtime import tasks
from voxgate.runtime.exit import end_process
from voxgate.runtime.garbage import GarbageRounds
from voxgate.server.http import HttpProtocol
from voxgate.server.sockets import BACKLOG, allow_files, listen
from voxgate.server.tls import tls_context
from voxgate.server.websocket import WebSocketProtocol
from voxgate.service.service import Service

if TYPE_CHECKING:
    from voxgate.endpoints.grpc.server import GrpcServer

logger = logging.getLogger(__name__)

POLL_S = 0.02
# The last part of the grace time is for the final results of sessions that the server ends itself.
LEFTOVERS_SHARE = 0.1
LEFTOVERS_MAX_S = 2.0
# After the end of the grace time: until the last finals are sent, the connections closed, the process gone.
LAST_FINALS_S = 0.4
LAST_CLOSES_S = 0.6
GONE_S = 0.8
# A client has this long to answer the close frame before its connection closes.
CLOSE_S = 2.0
HTTP_S = 0.1


# uvicorn logs every refusal before the upgrade, as an error of the application, and mistakes of clients: any client
# could fill the log.
UNWANTED_MESSAGES = {
    "ASGI callable returned without completing handshake.",
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "Invalid UTF-8 sequence received from client.",
}


def _is_wanted(record: logging.LogRecord) -> bool:
    return record.msg not in UNWANTED_MESSAGES


def uvicorn_config(service: Service, on_started: Started) -> uvicorn.Config:
    """Uvicorn's settings for long-lived streams, in many places other than its defaults. ConfigError for a certificate
    that cannot be used.
    """
    logging.getLogger("uvicorn.error").addFilter(_is_wanted)
    own = {"settings": service.config}
    tls = tls_context(service.config.server)
    return uvicorn.Config(
        create_app(service, on_started),
        loop="uvloop",
        http=type("HttpProtocol", (HttpProtocol,), own),
        ws=type("WebSocketProtocol", (WebSocketProtocol,), own),
        lifespan="on",
        log_config=None,
        access_log=False,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
        proxy_headers=False,  # it trusts every process of this machine; see access.Proxies
        server_header=False,
        backlog=BACKLOG,
        ws_max_size=service.config.limits.message_bytes,
        # PCM does not compress; a small malicious message could expand to many megabytes.
        ws_per_message_deflate=False,
        # A client slowed down by back-pressure cannot answer pings in time, and must not be closed for it.
        ws_ping_interval=None,
        ws_ping_timeout=None,
    )


def listen_for(service: Service, shared: bool = False) -> list[socket.socket]:
    """The server's socket, followed by that of the metrics when they have a port of their own, which this function sets
    in `service.metrics`. ConfigError when an address cannot be used.
    """
    settings, metrics_port = service.config.server, service.config.metrics.port
    allow_files(service.config.limits.streams)
    sockets = [listen(settings, shared)]
    if metrics_port is not None:
        try:
            sockets.append(listen(msgspec.structs.replace(settings, port=metrics_port), shared))
        except BaseException:
            sockets[0].close()
            raise
        service.metrics.port = sockets[1].getsockname()[1]
    return sockets


class Server(uvicorn.Server):
    """Serves `service` until a signal, or `ask_to_end`, ends it.

    The first signal drains the server: `ready` and new streams get 503, `health` stays 200 (the socket stays open), and
    sessions have `server.drain_s` to finish; the server ends the remaining ones and sends their results. A second
    signal ends the process at once, with the exit code of that signal. `owns_process`: the process ends in time even if
    a thread or a task does not. `is_worker`: a supervisor ends this process by SIGTERM, possibly more than once; Ctrl-C
    is ignored, because a terminal sends it to the supervisor too.
    """

    def __init__(
        self, service: Service, on_started: Started, owns_process: bool = False, is_worker: bool = False
    ) -> None:
        if service.config.grpc.port is not None:
            check_installed()
        super().__init__(uvicorn_config(service, on_started))
        self._service = service
        self._owns_process = owns_process
        self._is_worker = is_worker
        self.servers = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end_s = 0.0
        self._grpc: GrpcServer | None = None
        self.grpc_port: int | None = None
        """The port for gRPC, once it is open; None: the server speaks none."""
        self._garbage_rounds: GarbageRounds | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._is_worker and sig == signal.SIGINT:
            return
        if self.should_exit and not self._is_worker:
            end_process(128 + sig)
        self.ask_to_end()

    def ask_to_end(self) -> None:
        """Begins the drain. Any thread and any signal handler may call it."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                self._loop.call_soon_threadsafe(self._drain)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Replaces uvicorn's, which allows a TLS handshake a minute."""
        if sockets:
            await self.open_grpc()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the application did not start")
        if self._owns_process:
            self._garbage_rounds = GarbageRounds(asyncio.get_running_loop().call_soon_threadsafe)
            # A callback of its own and no step of this task, whose long steps are logged.
            asyncio.get_running_loop().call_soon(self._garbage_rounds.start)
            await asyncio.sleep(0)
        await self.open(sockets or [])
        self.started = True

    async def open(self, sockets: list[socket.socket]) -> None:
        """Accepts clients on these sockets, which the server owns from now on."""
        config, loop = self.config, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

        tls: dict[str, Any] = {}
        if config.ssl is not None:
            tls = {
                "ssl": config.ssl,
                "ssl_handshake_timeout": self._service.config.limits.handshake_timeout_s,
                "ssl_shutdown_timeout": CLOSE_S,
            }
        for sock in sockets:
            self.servers.append(await loop.create_server(connection, sock=sock, backlog=BACKLOG, **tls))

    async def open_grpc(self) -> None:
        """Accepts clients on the port for gRPC, if there is one. ConfigError when it cannot be used."""
        if self._service.config.grpc.port is not None:
            # Its own log writes lines of its own form to stderr, also about what clients do wrong.
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            from voxgate.endpoints.grpc.server import GrpcServer  # needs the extra

            self._grpc = GrpcServer(self._service, is_shared=self._is_worker)
            self.grpc_port = await self._grpc.start()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super().main_loop()

    def _drain(self) -> None:
        """The first step, which does not wait: the server accepts no new streams."""
        service = self._service
        if service.draining_until_s is not None:
            return
        drain_s = service.config.server.drain_s
        grace_s = drain_s - min(LEFTOVERS_MAX_S, drain_s * LEFTOVERS_SHARE)
        self._end_s = time.monotonic() + drain_s
        if self._owns_process:
            with contextlib.suppress(RuntimeError):  # no room for a thread, which is logged: the drain continues
                tasks.spawn_thread(self._end_in_time, "voxgate-end", daemon=True, subsystem="serving")
        n_sessions = service.drain(grace_s)
        if n_sessions:
            logger.warning(
                "draining: waiting up to %g s for %d open session%s%s",
                drain_s,
                n_sessions,
                "s" * (n_sessions > 1),
                "" if self._is_worker else "; a second signal (Ctrl-C) ends at once",
            )

    def _end_in_time(self) -> None:
        threading.Event().wait(self._end_s + GONE_S - time.monotonic())
        logger.warning("the drain did not end in time: ending the process")
        end_process(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Replaces uvicorn's, which closes the listening socket first, and all clients with it."""
        self._drain()
        service, end_s = self._service, self._end_s
        assert service.draining_until_s is not None
        await self._until(lambda: not service.streams, service.draining_until_s)
        service.end_sessions()
        await self._until(lambda: not service.streams, end_s + LAST_FINALS_S)
        service.leave_clients()
        closed_s = min(time.monotonic() + CLOSE_S, end_s + LAST_CLOSES_S)
        await self._until(lambda: not self._websockets(), closed_s)
        if self._grpc is not None:
            await self._grpc.stop(HTTP_S)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._until(lambda: not self.server_state.connections, time.monotonic() + HTTP_S)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._until(lambda: not self.server_state.tasks, time.monotonic() + HTTP_S)
        await self.lifespan.shutdown()
        if self._garbage_rounds is not None:
            self._garbage_rounds.stop()

    def _websockets(self) -> list[WebSocketProtocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, WebSocketProtocol)]

    async def _until(self, condition: Callable[[], bool], deadline_s: float) -> None:
        while not condition() and time.monotonic() < deadline_s:
            await asyncio.sleep(POLL_S)
