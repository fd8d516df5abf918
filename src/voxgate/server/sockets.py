"""The listening socket, and the options that accepted sockets inherit from it."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket

import msgspec

from voxgate.config import Config, ServerSettings
from voxgate.errors import ConfigError

# The largest TCP segment, that of an Ethernet, where it changes nothing. On loopback it would be 64 KiB: this keeps the
# sender's kernel from buffering megabytes of audio ahead of the client's pings while the server does not read.
MAX_SEGMENT_BYTES = 1440
BACKLOG = 2048
KEEPALIVE_S = 15
# Open files besides one for each stream: connections that are not streams (yet), the engine's and the model's files.
OTHER_FILES = 1024

logger = logging.getLogger(__name__)


def listen(settings: ServerSettings, shared: bool = False) -> socket.socket:
    """The listening socket. ConfigError when the address cannot be used. `shared`: other sockets may listen on the
    address too, and the kernel distributes the connections among them.
    """
    return _open(settings, shared, is_listening=True)


def reserve(settings: ServerSettings) -> socket.socket:
    """A socket that reserves the address for others, which will `listen` there with `shared`. ConfigError when the
    address cannot be used, or another program listens there already.
    """
    with _open(settings, shared=False, is_listening=True) as alone:
        port = alone.getsockname()[1]
    return _open(msgspec.structs.replace(settings, port=port), shared=True, is_listening=False)


def allow_files(n_streams: int) -> None:
    """Raises this process's limit of open files to the number that `n_streams` need. The limit is 1024 on most systems,
    and at the limit no client can connect.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n_streams + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    with contextlib.suppress(OSError, ValueError):
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < needed:
        logger.warning(
            "limits.streams is %d, but this process may only open %d files, connections included: at that number no "
            "further client can connect (ulimit -n)",
            *(n_streams, soft),
        )


def _open(settings: ServerSettings, shared: bool, is_listening: bool) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.bare_host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Accepted sockets inherit these. With a short receive buffer, back-pressure reaches the client soon.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer_bytes)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MAX_SEGMENT_BYTES)
            # Detects clients that vanish while the server has nothing to send to them.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", KEEPALIVE_S), ("TCP_KEEPCNT", 3)):
                if hasattr(socket, option):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Ends connections whose client acknowledges nothing for this long, see also `closing.limit_probing`.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.send_timeout_s * 1000))
            sock.bind(address)
            if is_listening:
                sock.listen(BACKLOG)  # clients queue from here on; the event loop accepts them when it runs
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        where = _joined(settings.bare_host, settings.port)
        raise ConfigError(f"cannot listen on {where}: {error.strerror or error}") from error
    return sock


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    host, port = sock.getsockname()[:2]
    return f"{scheme}://{_joined(host, port)}"


def start_line(sock: socket.socket, config: Config, grpc_port: int | None) -> str:
    """Says that the server is ready, and where. `sock`: that of HTTP."""
    secure = "s" if config.server.tls_certificate is not None else ""
    line = f"voxgate listening on {url_of(sock, 'http' + secure)}"
    if grpc_port is None:
        return line
    return f"{line} and grpc{secure}://{_joined(sock.getsockname()[0], grpc_port)}"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
