"""A path for websockets of one API: each client is refused before the upgrade, or accepted and served to its end."""

from __future__ import annotations

import uuid

from starlette.types import Receive, Scope, Send

from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import refuse_upgrade
from voxgate.endpoints.websocket import WebSocket
from voxgate.endpoints.wire import Upgrade, Wire, invalid_request, not_served
from voxgate.errors import VoxgateError
from voxgate.protocol.machine import Route
from voxgate.service.admission import Permit, Refusal
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import Entry
from voxgate.service.service import Service
from voxgate.session.context import SessionContext
from voxgate.session.session import Session

__all__ = ["StreamRoute"]


class StreamRoute:
    """One path: the websockets of `wire`, on one route."""

    def __init__(self, service: Service, entry: Entry, route: Route, wire: type[Wire]) -> None:
        self._service = service
        self._entry = entry
        self._route = route
        self._wire = wire
        self._context: SessionContext | None = None  # made for the first client: the service has started by then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        request_id = str(uuid.uuid4())
        upgrade = Upgrade(
            scope["path"], scope["query_string"], scope["headers"], scope.get("subprotocols", ()), request_id
        )
        credentials = self._wire.credentials(upgrade)
        client = client_of(scope, self._service.gate)._replace(
            token=credentials.token,
            wire=self._wire.name,
            request_id=None if self._wire.name == "native" else request_id,
        )
        opened = await self._open(upgrade, client)
        if isinstance(opened, Refusal):
            self._service.admission.record(opened, self._wire.name)
            await refuse_upgrade(self._wire.refuse(opened, request_id), scope, send)
            return
        wire, permit = opened
        client = client._replace(identity=permit.identity)
        try:
            accept = {"type": "websocket.accept", "headers": list(wire.headers)}
            if credentials.subprotocol is not None:
                accept["subprotocol"] = credentials.subprotocol
            await send(accept)
            await self._serve(wire, scope, receive, send, client, permit)
        finally:
            permit.release()

    async def _open(self, upgrade: Upgrade, client: ClientInfo) -> tuple[Wire, Permit] | Refusal:
        service = self._service
        unserved = not_served(service, self._entry, self._route, self._wire.carries_words, upgrade.path)
        if unserved is not None:
            return unserved
        permit = await self._entry.admit(client)
        if isinstance(permit, Refusal):
            return permit
        try:
            return self._wire.open(upgrade, service), permit
        except VoxgateError as error:
            permit.release()
            return invalid_request(error)
        except BaseException:
            permit.release()
            raise

    async def _serve(
        self, wire: Wire, scope: Scope, receive: Receive, send: Send, client: ClientInfo, permit: Permit
    ) -> None:
        context = self._context
        if context is None:
            context = self._context = SessionContext.of(self._service)

        async def check_token(token: str) -> ClientInfo | VoxgateError:
            return await self._entry.check_token(token, client, permit)

        websocket = WebSocket(wire, scope, receive, send, context.config.limits.message_bytes, context.tally)
        for message in wire.greeting:
            await websocket.send(message)
        token_check = check_token if permit.is_pending else None
        await Session(websocket, context, self._route, token_check, client, progress_s=wire.progress_s).run()
