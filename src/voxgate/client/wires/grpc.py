"""Voxgate's gRPC API as a connection of the native wire."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from voxgate.client.certificate import ClientCertificate
from voxgate.client.errors import ConnectError, RefusedError
from voxgate.client.proxy import find_proxy
from voxgate.client.redaction import public_url, without_token
from voxgate.observe.tracing import parse_traceparent
from voxgate.proto.voxgate import STREAM, ServerMessage
from voxgate.protocol.requests import Start
from voxgate.protocol.tokens import clean_token

from .grpc_messages import audio_message, event_text, request_message

__all__ = ["ConnectionClosed", "GrpcConnection", "channel_of"]

_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
_CONNECT_S: Final = 10.0
_PORT: Final = 50_051
_KEEPALIVE_MS: Final = 60_000

# What the statuses of refusals are over HTTP, and those of ends over a websocket.
_HTTP: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_ENDS: Final = {
    grpc.StatusCode.UNAVAILABLE: 1001,
    grpc.StatusCode.INVALID_ARGUMENT: 1008,
    grpc.StatusCode.DEADLINE_EXCEEDED: 1008,
    grpc.StatusCode.UNAUTHENTICATED: 1008,
    grpc.StatusCode.INTERNAL: 1011,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 1013,
}
_TOO_LARGE: Final = (1009, ("too_large", "message_bytes"))
_DOMAIN: Final = "voxgate"
_DETAILS_KEY: Final = "grpc-status-details-bin"


def channel_of(addr: str, certificate: ClientCertificate | None = None) -> grpc.aio.Channel:
    """A channel to `addr`, ``grpc://HOST:PORT`` or ``grpcs://HOST:PORT``. Connects at the first call."""
    parts = urlsplit(addr)
    is_secure = parts.scheme == "grpcs"
    port = parts.port or (443 if is_secure else _PORT)
    host = parts.hostname or ""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    proxy = find_proxy(urlunsplit(("wss" if is_secure else "ws", f"{target}", "/", "", "")))
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", _MAX_EVENT_BYTES),
        ("grpc.max_send_message_length", -1),
        # Without, the library reads the variables of the environment, otherwise than we do.
        ("grpc.enable_http_proxy", 0) if proxy is None else ("grpc.http_proxy", proxy.url),
        ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.enable_retries", 0),
    ]
    if not is_secure:
        return grpc.aio.insecure_channel(target, options)
    key, chain = (None, None) if certificate is None else certificate.read()
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(_roots(), key, chain), options)


def _roots() -> bytes | None:
    """The certificates that Python trusts, so that all wires trust the same. None: those that come with gRPC."""
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None


class GrpcConnection:
    """One call of `Stream`, on a connection of its own. `open` returns when the server has accepted the client."""

    def __init__(self, channel: grpc.aio.Channel, call: Any, route: str) -> None:
        self._channel = channel
        self._call = call
        self._route = route
        self._is_sent = asyncio.Event()
        """No message is on its way."""
        self._is_sent.set()

    @classmethod
    async def open(
        cls, addr: str, token: str | None, start: Start, certificate: ClientCertificate | None = None
    ) -> GrpcConnection:
        """Raises ConnectError or RefusedError."""
        metadata = [] if token is None else [("authorization", f"Bearer {clean_token(token)}")]
        if parse_traceparent(start.trace_id) is not None:
            metadata.append(("traceparent", str(start.trace_id)))
        channel = channel_of(addr, certificate)
        method = channel.stream_stream(STREAM, response_deserializer=ServerMessage.FromString)
        call = method(metadata=metadata)
        connection = cls(channel, call, urlsplit(addr).path.rpartition("/")[2])
        try:
            async with asyncio.timeout(_CONNECT_S):
                # A server that accepts a client names its request; a refusal is a status alone.
                if not await call.initial_metadata() and await call.code() is not grpc.StatusCode.OK:
                    raise await connection._refusal(addr, token)
        except TimeoutError:
            await connection.close()
            raise ConnectError(f"cannot connect to {public_url(addr)}: no answer within {_CONNECT_S:g} s") from None
        except grpc.RpcError:
            error = await connection._refusal(addr, token)
            await connection.close()
            raise error from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _refusal(self, addr: str, token: str | None) -> ConnectError:
        call = self._call
        status, text = await call.code(), without_token(await call.details() or "", token)
        reason, retry_s = _details(await call.trailing_metadata())
        if reason is None and status is not grpc.StatusCode.UNIMPLEMENTED:  # not the server's word
            return ConnectError(f"cannot connect to {public_url(addr)}: {_why(text)}")
        return RefusedError(_HTTP.get(status, 500), text, retry_s, status.name)

    async def send(self, message: str | bytes | memoryview, /) -> None:
        is_stop = False
        if isinstance(message, str):
            data = request_message(message, self._route)
            is_stop = message.startswith('{"request":"stop"')
        else:
            data = audio_message(message)
        self._is_sent.clear()
        try:
            await self._call.write(data)
            if is_stop:
                await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            raise await self._end() from None
        finally:
            self._is_sent.set()

    async def recv(self) -> str:
        while True:
            try:
                message = await self._call.read()
            except grpc.RpcError:
                raise await self._end() from None
            if message is grpc.aio.EOF:
                # The server may answer the last message before the library tells that it was sent.
                await self._is_sent.wait()
                raise await self._end()
            if (text := event_text(message)) is not None:
                return text

    async def _end(self) -> ConnectionClosedOK | ConnectionClosedError:
        """The end of the call in the words of a websocket's."""
        call = self._call
        status, text = await call.code(), await call.details() or ""
        if status is grpc.StatusCode.OK:
            end = Close(1000, "")
            return ConnectionClosedOK(end, end, True)
        reason, _ = _details(await call.trailing_metadata())
        if reason is None and status is grpc.StatusCode.RESOURCE_EXHAUSTED:  # a message beyond the library's limit
            end = Close(_TOO_LARGE[0], text[:120])
            return ConnectionClosedError(end, end, True)
        # The server did not end it: the connection was lost. Or it did while a write was on its way: when that fails
        # before the status arrives, grpc.aio puts INTERNAL, "Internal error from Core", in the place of the status.
        if reason is None:
            return ConnectionClosedError(None, None)
        code = _TOO_LARGE[0] if reason in _TOO_LARGE[1] else _ENDS.get(status, 1011)
        end = Close(code, text[:120])
        return ConnectionClosedError(end, end, True)

    async def close(self, code: int = 1000) -> None:
        self._call.cancel()
        with contextlib.suppress(grpc.RpcError, asyncio.CancelledError):
            await self._channel.close()


def _details(trailing: Any) -> tuple[str | None, str | None]:
    """The server's own reason for the end of a call, None for an end that is not its own; and the seconds after which a
    client may come back.
    """
    reason = retry_s = None
    for key, value in trailing or ():
        if key == _DETAILS_KEY:
            with contextlib.suppress(DecodeError):  # another server's bytes
                for detail in status_pb2.Status.FromString(value).details:
                    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
                    if detail.Unpack(info) and info.domain == _DOMAIN:
                        reason = info.reason
                    elif detail.Unpack(retry):
                        retry_s = str(retry.retry_delay.seconds)
    return reason, retry_s


def _why(text: str) -> str:
    """Why no connection could be opened, of the text of gRPC."""
    if "Connection refused" in text:
        return "connection refused (is the server running?)"
    if "WRONG_VERSION_NUMBER" in text:
        return "the server does not use TLS (its address begins with grpc://)"
    return text.rpartition("last error: ")[2] or "no answer"
