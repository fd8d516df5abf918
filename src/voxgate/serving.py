"""The process: one listening socket, uvicorn on uvloop, and a clean end."""

from __future__ import annotations

import logging
import socket
from types import FrameType

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from voxgate.app import Started, create_app
from voxgate.config import Config, ServerSettings
from voxgate.errors import ConfigError
from voxgate.service import Service

logger = logging.getLogger(__name__)

# Largest TCP segment that is asked for: that of an Ethernet. It changes nothing there; on loopback, where it would be
# 64 KiB, it keeps the sender's kernel from taking in megabytes of audio which the server has no room for, in front of
# the pings of that client.
MAX_SEGMENT_BYTES = 1440
BACKLOG = 2048
GOING_AWAY = 1001
# Connections that are not gone by then are left behind when the server stops.
SHUTDOWN_TIMEOUT_S = 5


def listen(settings: ServerSettings) -> socket.socket:
    """The listening socket. ConfigError when the address cannot be had."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit these. A short receive buffer lets back-pressure reach the client soon.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer_bytes)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MAX_SEGMENT_BYTES)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Who takes in nothing of what we send for so long is gone, or might as well be.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.send_timeout_s * 1000))
            sock.bind(address)
            sock.listen(BACKLOG)  # from here on clients queue up; uvicorn lets them in when its loop runs
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise ConfigError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error
    return sock


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """The websocket of uvicorn, but for how it ends: a server that goes away says 1001, not 1012 (service restart)."""

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
            self.conn.send_close(GOING_AWAY)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()


def _is_news(record: logging.LogRecord) -> bool:
    """Uvicorn takes every refusal before the upgrade for a mistake of the application; we have said it better."""
    return record.getMessage() != "ASGI callable returned without completing handshake."


def uvicorn_config(service: Service, on_started: Started) -> uvicorn.Config:
    """How uvicorn has to run for us: what it does by default to long-lived streams is not what they need."""
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    return uvicorn.Config(
        create_app(service, on_started),
        loop="uvloop",
        http="httptools",
        ws=WebSocketProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        ws_max_size=service.config.limits.message_bytes,
        # PCM does not compress, and a compressed bomb does.
        ws_per_message_deflate=False,
        # A client held back by TCP cannot answer pings in time, and must not be closed for it.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )


class Server(uvicorn.Server):
    """A signal that asks for the end is an orderly end: exit code 0, not death by that signal."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def serve(config: Config) -> int:
    """Serves until a signal ends it; the exit code. Raises ConfigError for what is wrong with the settings or the
    model.

    When the model is warm, one line ``voxgate listening on URL`` goes to standard output.
    """
    service = Service(config)
    failure: BaseException | None = None

    def started(error: BaseException | None) -> None:
        nonlocal failure
        if error is None:
            print(f"voxgate listening on {url_of(sock)}", flush=True)
        else:
            failure = error
            server.should_exit = True

    server = Server(uvicorn_config(service, started))
    with listen(config.server) as sock:
        server.run(sockets=[sock])
    if failure is not None:
        raise failure
    return 0
