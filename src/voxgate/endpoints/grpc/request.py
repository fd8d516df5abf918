"""The requests of methods that take one message. They are served as streams, which is the same on the wire: the library
would read a whole message, however large, before it calls the handler of a unary method.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import grpc.aio
from google.protobuf.message import DecodeError

from voxgate.endpoints.grpc.operation import GONE, run
from voxgate.endpoints.grpc.statuses import status_of_refusal
from voxgate.endpoints.wire import invalid_request
from voxgate.errors import InvalidMessage

__all__ = ["MAX_REQUEST_BYTES", "RequestReader", "answer"]

MAX_READS: Final = 8
"""At a time. A further read ends the oldest, so that a client which sends no request keeps nobody out."""

MAX_REQUEST_BYTES: Final = 1024


class RequestReader:
    """Reads requests of at most MAX_REQUEST_BYTES, on the loop's thread."""

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s`: how long a request may take."""
        self._timeout_s = timeout_s
        self._reads: dict[asyncio.Timeout, None] = {}

    async def read(self, context: grpc.aio.ServicerContext, parse: Callable[[bytes], Any], name: str) -> Any:
        """The request, as `parse` returns it. None: there is none, and the call has its status. `name`: of the type."""
        data = await self._bytes(context)
        if data is None:
            text = f"message: expected a {name} within {self._timeout_s:g} s, got none"
        elif len(data) > MAX_REQUEST_BYTES:
            text = f"message: expected at most {MAX_REQUEST_BYTES} bytes, got {len(data)}"
        else:
            try:
                return parse(data)
            except DecodeError:
                text = f"message: expected a {name}, got other bytes"
        status_of_refusal(invalid_request(InvalidMessage(text))).send(context)
        return None

    async def _bytes(self, context: grpc.aio.ServicerContext) -> bytes | None:
        if len(self._reads) >= MAX_READS:
            oldest = next(iter(self._reads))
            del self._reads[oldest]
            oldest.reschedule(0)
        timeout = asyncio.timeout(self._timeout_s)
        try:
            async with timeout:
                self._reads[timeout] = None
                data = await run(context.read)
        except TimeoutError:
            return None
        finally:
            self._reads.pop(timeout, None)
        return None if data is GONE or data is grpc.aio.EOF else data


async def answer(context: grpc.aio.ServicerContext, data: bytes) -> None:
    """Sends one message. A client that is gone gets none."""
    with contextlib.suppress(grpc.aio.BaseError):
        await context.write(data)
