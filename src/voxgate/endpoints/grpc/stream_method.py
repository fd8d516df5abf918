"""A streaming method: each client is refused with a status, or admitted and served to its end."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio

from voxgate.endpoints.grpc.endpoint import GrpcEndpoint
from voxgate.endpoints.grpc.operation import GONE, run
from voxgate.endpoints.grpc.peer import client_of
from voxgate.endpoints.grpc.statuses import Status, status_of_close, status_of_refusal
from voxgate.endpoints.grpc.wire import FRAME_BYTES, GrpcWire
from voxgate.endpoints.start_check import check_opens
from voxgate.endpoints.wire import invalid_request, not_served
from voxgate.errors import VoxgateError
from voxgate.protocol.closing import Close, CloseReason
from voxgate.runtime import tasks
from voxgate.service.admission import Permit, Refusal
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.session import Session

__all__ = ["StreamMethod"]

REQUEST_ID: Final = "x-request-id"
"""The key of the metadata with which a call is accepted: a refusal has none."""


class StreamMethod:
    """The handler of one method, for the reader API of grpc.aio."""

    def __init__(self, service: Service, entry: Entry, wire: type[GrpcWire]) -> None:
        self._service = service
        self._entry = entry
        self._wire = wire
        self._is_secure = service.config.server.tls_certificate is not None
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    async def __call__(self, messages: Any, context: grpc.aio.ServicerContext) -> None:
        request_id = uuid.uuid4().hex
        client = client_of(context, self._service.gate, self._is_secure, self._wire.name)
        client = client._replace(request_id=request_id)
        permit = await self._entry.admit(client)
        if isinstance(permit, Refusal):
            self._refuse(permit, context)
            return
        served: Served | None = None
        try:
            opened = await self._open(context, request_id)
            if isinstance(opened, GrpcWire):
                served = self._begin(opened, context, client._replace(identity=permit.identity), permit)
            elif isinstance(opened, Refusal):
                self._refuse(opened, context)
            elif opened is not None:
                opened.send(context)
        finally:
            if served is None:  # otherwise, the session's task releases it
                permit.release()
        if served is not None:
            await _end_of(served, context)

    def _refuse(self, refusal: Refusal, context: grpc.aio.ServicerContext) -> None:
        self._service.admission.record(refusal, self._wire.name)
        status_of_refusal(refusal).send(context)

    async def _open(self, context: grpc.aio.ServicerContext, request_id: str) -> GrpcWire | Refusal | Status | None:
        """Waits for the first message. None: the client has ended the call without one."""
        service = self._service
        if self._context is None:
            self._context = SessionContext.of(service)
        try:
            await context.send_initial_metadata(((REQUEST_ID, request_id),))  # the client is admitted, and knows it
        except grpc.aio.BaseError:  # it is gone
            return None
        limits, kind = service.config.limits, self._wire
        timeout_s: float = getattr(limits, kind.first_time_limit)
        newcomer = Newcomer(timeout_s)
        service.connections.add(newcomer)
        try:
            async with newcomer.timeout:
                first = await run(context.read)
        except TimeoutError:
            if newcomer.is_sent_away:
                return status_of_close(Close(CloseReason.DRAINING))
            return self._limit_hit(CloseReason.TIMEOUT, kind.late_text.format(timeout_s), kind.first_time_limit)
        finally:
            service.connections.discard(newcomer)
        if first is GONE or first is grpc.aio.EOF:
            return None
        max_bytes: int = getattr(limits, kind.first_bytes_limit)
        if len(first) > max_bytes + FRAME_BYTES:
            return self._limit_hit(
                CloseReason.TOO_LARGE, f"message larger than {max_bytes} bytes", kind.first_bytes_limit
            )
        try:
            wire = self._wire.open(first, self._context, request_id)
            unserved = not_served(service, self._entry, wire.route, wire.carries_words, wire.route)
            if unserved is not None:
                return unserved
            if wire.start is not None:
                check_opens(wire.start, wire.route, self._context)
        except VoxgateError as error:
            return invalid_request(error)
        return wire

    def _limit_hit(self, reason: CloseReason, text: str, limit: str) -> Status:
        self._service.tally.limit_hits.add(limit)
        return status_of_close(Close(reason, text, limit if reason is CloseReason.TOO_LARGE else None))

    def _begin(self, wire: GrpcWire, context: grpc.aio.ServicerContext, client: ClientInfo, permit: Permit) -> Served:
        """Begins the session, in a task that releases the permit."""
        assert self._context is not None
        config = self._context.config
        endpoint = GrpcEndpoint(
            wire, context, config.limits.message_bytes, config.server.send_timeout_s, self._context.tally
        )
        session = Session(endpoint, self._context, wire.route, None, client)

        async def run() -> None:
            try:
                await session.run()
            finally:
                permit.release()

        return Served(endpoint, session, tasks.spawn_task(run(), "grpc-session", "connection"))


class Served(NamedTuple):
    """A client whose session runs."""

    endpoint: GrpcEndpoint
    session: Session
    running: asyncio.Task[None]


async def _end_of(served: Served, context: grpc.aio.ServicerContext) -> None:
    endpoint, session, running = served
    try:
        await asyncio.wait((running, endpoint.over), return_when=asyncio.FIRST_COMPLETED)
        session.drop_unread()  # it may be too far behind to see that the call is over
        await asyncio.shield(running)
    except asyncio.CancelledError:  # by grpc.aio: the client is gone
        endpoint.leave()
        session.drop_unread()
        raise
    endpoint.status.send(context)


class Newcomer:
    """A client that has sent nothing yet, as the end of the server sees it (service.Drainable)."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout = asyncio.timeout(timeout_s)
        """Around the wait for its first message."""
        self.is_sent_away = False

    def drain(self, grace_s: float) -> bool:
        self.leave()
        return False

    def end(self) -> None:
        self.leave()

    def leave(self) -> None:
        self.is_sent_away = True
        with contextlib.suppress(RuntimeError):  # it has just ended
            self.timeout.reschedule(0)
