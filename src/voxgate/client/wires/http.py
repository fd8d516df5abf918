"""Live audio over plain HTTP as a connection of the native wire: the answer comes while the body is sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from voxgate.client.errors import ConnectError, RefusedError
from voxgate.client.redaction import public_url, without_token
from voxgate.observe.tracing import parse_traceparent
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start
from voxgate.protocol.tokens import clean_token

__all__ = ["HttpConnection", "query_of"]

_LONGEST_LINE: Final = 16 * 1024 * 1024
_CONNECT_S: Final = 10.0
# An answer has no close code: its last error says why the server ended it.
_CODES: Final = {"draining": 1001, "timeout": 1008, "internal": 1011, "overloaded": 1013}


def query_of(start: Start) -> str:
    """The options of `start` as a query."""
    fields: dict[str, Any] = {}
    form = start.format
    if isinstance(form, AudioFormat):
        fields |= {"sample_rate": form.sample_rate, "channels": form.channels, "encoding": form.pcm_encoding}
    else:
        fields["container"] = form.container
    for name in ("interim_results", "notices", "probabilities", "stability", "eager"):
        if getattr(start, name, False):
            fields[name] = "true"
    if start.segmentation != "auto":
        fields["segmentation"] = start.segmentation
    for group, struct in (("vad", start.vad), ("turn", start.turn)):
        for name in () if struct is None else struct.__struct_fields__:
            if (value := getattr(struct, name)) is not None:
                fields[f"{group}.{name}"] = json.dumps(value)
    for name, value in (start.options or {}).items():
        fields[f"option.{name}"] = value if isinstance(value, str) else json.dumps(value)
    return urlencode(fields)


class HttpConnection:
    """`open` has sent the head of the request, and has read that of the answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lines: deque[str] = deque()
        self._rest = b""
        self._last_error = ""

    @classmethod
    async def open(
        cls, addr: str, token: str | None, start: Start, tls: ssl.SSLContext | None = None
    ) -> HttpConnection:
        """`addr`: a websocket URL. Raises ConnectError or RefusedError."""
        parts = urlsplit(addr)
        is_secure = parts.scheme == "wss"
        context = (tls or ssl.create_default_context()) if is_secure else None
        port = parts.port or (443 if is_secure else 80)
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=_LONGEST_LINE)
        except (OSError, TimeoutError) as error:
            reason = "no answer within 10 s" if isinstance(error, TimeoutError) else str(error)
            raise ConnectError(f"cannot connect to {public_url(addr)}: {reason}") from None
        query = "&".join(filter(None, (parts.query, query_of(start))))
        head = [f"POST {parts.path}?{query} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
        head += ["Transfer-Encoding: chunked", "Accept: application/x-ndjson"]
        if token is not None:
            head.append(f"Authorization: Bearer {clean_token(token)}")
        if parse_traceparent(start.trace_id) is not None:
            head.append(f"traceparent: {start.trace_id}")
        connection = cls(reader, writer)
        try:
            writer.write("\r\n".join([*head, "", ""]).encode())
            status, headers = await connection._read_head()
            if status != 200:
                body = await reader.read(int(headers.get("content-length", 0)) or 65_536)
                text = without_token(body.decode("utf-8", "replace"), token)
                raise RefusedError(status, text, headers.get("retry-after"))
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await connection.close()
            raise ConnectError(f"cannot connect to {public_url(addr)}: this is no HTTP server") from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers

    async def send(self, message: str | bytes | memoryview, /) -> None:
        if not isinstance(message, str):
            data = bytes(message)
            await self._write(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
        elif json.loads(message)["request"] == "stop":
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            raise ConnectionClosedError(None, None) from None

    async def recv(self) -> str:
        try:
            while not self._lines:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                data = await self._reader.readexactly(size)
                await self._reader.readexactly(2)
                if not size:
                    self._end()
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._lines.extend(line.decode() for line in lines if line)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            raise ConnectionClosedError(None, None) from None
        line = self._lines.popleft()
        if line.startswith('{"type":"error"'):
            self._last_error = json.loads(line).get("code", "")
        return line

    def _end(self) -> None:
        end = Close(_CODES.get(self._last_error, 1000), "")
        raise (ConnectionClosedOK if end.code == 1000 else ConnectionClosedError)(end, end, True)

    async def close(self, code: int = 1000) -> None:
        self._writer.close()
