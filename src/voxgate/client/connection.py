"""Addresses, and opening a websocket to one."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

from voxgate.observe.tracing import parse_traceparent
from voxgate.protocol.tokens import clean_token

from .errors import ConnectError, RefusedError
from .proxy import Proxy, find_proxy
from .redaction import public_url, without_token

__all__ = ["DEFAULT_ADDR", "is_served", "normalize_addr", "open_websocket"]

DEFAULT_ADDR = "ws://localhost:8080/api/v1/segmented"
_DEFAULT_PATH = "/api/v1/segmented"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss", "grpc": "grpc", "grpcs": "grpcs"}

_MAX_EVENT_BYTES = 16 * 1024 * 1024
_QUEUED_EVENTS = 1024  # beyond it reading pauses, and the server's pings get no answer
_CLOSE_TIMEOUT_S = 1.0
# The reasons of OpenSSL when the server answers in plain text.
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def normalize_addr(addr: str) -> str:
    """A URL of a wire from an address: `HOST:PORT` is ws, http means ws, no path means the segmented route.

    Raises ValueError for another scheme, a missing host or an invalid port.
    """
    if "://" not in addr:
        addr = f"ws://{addr}"
    try:
        parts = urlsplit(addr)
    except ValueError:
        raise ValueError("address: expected a URL, or HOST:PORT; an IPv6 address is in brackets") from None
    shown = repr(public_url(addr))
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"address: expected ws, wss, http, https, grpc or grpcs, got {parts.scheme!r} in {shown}")
    if not parts.hostname:
        raise ValueError(f"address: expected a host in {shown}")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"address: expected a port of 0..65535 in {shown}") from None
    path = _DEFAULT_PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


async def is_served(addr: str) -> bool:
    """Whether a server accepts streams at `addr`, a websocket URL. False only when it answers 404 or 501."""
    try:
        websocket = await open_websocket(addr, None)
    except RefusedError as error:
        return error.status not in (404, 501)
    except ConnectError:
        return True
    await websocket.close()
    return True


async def open_websocket(
    addr: str,
    token: str | None,
    traceparent: str | None = None,
    scheme: str = "Bearer ",
    tls: ssl.SSLContext | None = None,
) -> ClientConnection:
    """Connects to a websocket URL, with `scheme` and `token` in the Authorization header. `tls`: None is the usual one.

    Raises ConnectError or RefusedError, and ValueError for a token that no header can carry.
    """
    headers = {} if token is None else {"Authorization": scheme + clean_token(token)}
    if parse_traceparent(traceparent) is not None:  # anything else might be invalid in a header
        headers["traceparent"] = str(traceparent)
    proxy = find_proxy(addr)
    through = "" if proxy is None else f" through {proxy}"
    failed = f"cannot connect to {public_url(addr)}{through}"
    secured: dict[str, Any] = {} if tls is None else {"ssl": tls}  # None would be no TLS at all
    try:
        websocket = await connect(
            addr,
            additional_headers=headers,
            **secured,
            compression=None,  # PCM does not compress
            proxy=None if proxy is None else proxy.url,
            # Pings keep middleboxes from dropping a quiet connection. Their answers are not awaited: a server that
            # applies back-pressure does not read pings, and a client that requires pongs would disconnect itself.
            ping_interval=20,
            ping_timeout=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=_MAX_EVENT_BYTES,
            max_queue=_QUEUED_EVENTS,
        )
    except InvalidStatus as error:
        response = error.response
        body = without_token((response.body or b"").decode("utf-8", "replace"), token)
        raise RefusedError(response.status_code, body, response.headers.get("Retry-After")) from None
    except InvalidURI as error:
        raise ConnectError(f"{failed}: {error.msg}") from None
    except InvalidProxy as error:  # its text contains the password
        raise ConnectError(f"{failed}: {error.msg}") from None
    except InvalidProxyStatus as error:
        raise ConnectError(f"{failed}: the proxy answered HTTP {error.response.status_code}") from None
    except ProxyError as error:
        raise ConnectError(f"{failed}: {error}") from None
    except ImportError:
        raise ConnectError(
            f"{failed}: a SOCKS proxy needs the package python-socks: pip install python-socks"
        ) from None
    except InvalidHandshake as error:
        hint = ""
        if isinstance(error.__cause__, EOFError) and urlsplit(addr).scheme == "ws":
            hint = "; the address of a server with TLS begins with wss://"
        raise ConnectError(f"{failed}: this is not a websocket server ({error}){hint}") from None
    except (OSError, EOFError) as error:
        raise ConnectError(f"{failed}: {_connect_reason(error, proxy)}") from None
    _notice_dead_host(websocket)
    return websocket


def _connect_reason(error: Exception, proxy: Proxy | None) -> str:
    # asyncio puts several failures (one per address of the host) into the text of one plain OSError.
    if isinstance(error, ConnectionRefusedError) or f"Errno {errno.ECONNREFUSED}" in str(error):
        if proxy is not None:
            return "the proxy refused the connection (is it running? no_proxy=HOST bypasses it)"
        return "connection refused (is the server running?)"
    if isinstance(error, TimeoutError):
        return "no answer within 10 s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is invalid: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason in NO_TLS:
        return "the server does not use TLS (its address begins with ws://)"
    if isinstance(error, socket.gaierror):
        return f"unknown {'host' if proxy is None else 'proxy'} ({error.strerror})"
    return str(error) or type(error).__name__


def _notice_dead_host(websocket: ClientConnection) -> None:
    """Lets the kernel detect a dead host, in place of a ping timeout, which would also end a slow server's session."""
    raw = websocket.transport.get_extra_info("socket")
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if (option := getattr(socket, name, None)) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
