"""The listening socket, and what every accepted one inherits from it."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket

import msgspec

from voxgate.config import ServerSettings
from voxgate.errors import ConfigError

# Largest TCP segment that is asked for: that of an Ethernet. It changes nothing there; on loopback, where it would be
# 64 KiB, it keeps the sender's kernel from taking in megabytes of audio which the server has no room for, in front of
# the pings of that client.
MAX_SEGMENT_BYTES = 1440
BACKLOG = 2048
KEEPALIVE_S = 15
# Files that are open beside one for each stream: connections that are no streams (yet), the engine's, a model's.
OTHER_FILES = 1024

logger = logging.getLogger(__name__)


def listen(settings: ServerSettings, shared: bool = False) -> socket.socket:
    """The listening socket. ConfigError when the address cannot be had. `shared`: with others that listen there too,
    among which the kernel deals out the connections.
    """
    return _open(settings, shared, is_listening=True)


def reserve(settings: ServerSettings) -> socket.socket:
    """A socket that holds the address for others, which will listen there with `shared`. ConfigError as above, also
    when somebody is listening there already.
    """
    with _open(settings, shared=False, is_listening=True) as alone:
        port = alone.getsockname()[1]
    return _open(msgspec.structs.replace(settings, port=port), shared=True, is_listening=False)


def allow_files(n_streams: int) -> None:
    """Raises this process's limit of open files to what so many streams need. Most systems begin with 1024, and from
    there on nobody could connect any more.
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
            "limits.streams is %d, but this process may only open %d files, connections included: from there on nobody "
            "can connect (ulimit -n)",
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
            # Accepted sockets inherit these. A short receive buffer lets back-pressure reach the client soon.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer_bytes)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MAX_SEGMENT_BYTES)
            # Who is gone without a word, while nothing is to be sent to it, is found too.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPINTVL", KEEPALIVE_S), ("TCP_KEEPCNT", 3)):
                if hasattr(socket, option):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Who takes in nothing of what we send for so long is gone, or might as well be.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.send_timeout_s * 1000))
            sock.bind(address)
            if is_listening:
                sock.listen(BACKLOG)  # from here on clients queue up; uvicorn lets them in when its loop runs
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


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
