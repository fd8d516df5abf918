"""The way in, the same for every wire: access control, then admission."""

from __future__ import annotations

from typing import Final

from voxgate.errors import InternalError, Overloaded, Unauthorized, VoxgateError
from voxgate.models import Model
from voxgate.protocol.machine import Route
from voxgate.service.access import Gate, Verdict, holder_of
from voxgate.service.admission import Admission, Permit, Refusal, RefusalKind
from voxgate.service.client_info import ClientInfo

__all__ = ["AUTH_UNAVAILABLE", "UNAUTHORIZED", "Entry"]

UNAUTHORIZED: Final = Refusal(
    RefusalKind.UNAUTHENTICATED, "unauthorized", "expected a good token: Authorization: Bearer TOKEN"
)
AUTH_UNAVAILABLE: Final = Refusal(
    RefusalKind.UNAVAILABLE, "auth_unavailable", "tokens cannot be checked at the moment", 5
)


class Entry:
    """Decides whether a client may open a stream. Belongs to the loop's thread."""

    def __init__(self, gate: Gate, admission: Admission, model: Model, allows_token_in_start: bool) -> None:
        """`allows_token_in_start`: a client may connect without a token, and send one with its first start."""
        self._gate = gate
        self._admission = admission
        self._limits = admission.limits
        self._model = model
        self._allows_token_in_start = allows_token_in_start

    def why_unserved(self, route: Route) -> str | None:
        """The method that the route needs and the model lacks; None: the route is served."""
        model = self._model
        if route == "stateful":
            return None if model.stateful else f"model {model.name!r} keeps nothing between its calls: it has no step()"
        return None if model.stateless else f"model {model.name!r} answers no audio on its own: it has no infer()"

    async def admit(self, client: ClientInfo) -> Permit | Refusal:
        """In the order that tells strangers least and costs least: the hook, which may take its time, comes last; the
        permit then has the identity of the client. Refusals are not counted yet.
        """
        gate, token = self._gate, client.token
        if not gate.allows_origin(client):
            return Refusal(RefusalKind.FORBIDDEN, "origin", "web pages of this origin may not connect")
        verdict = Verdict.GOOD
        if gate.asks_for_token:
            if token is None:
                in_start = self._allows_token_in_start and client.wire == "native"
                verdict = Verdict.UNKNOWN if in_start else Verdict.BAD
            else:
                verdict = gate.judge(token)
            if verdict is Verdict.BAD:
                return UNAUTHORIZED
        permit = self._admission.admit(client, is_pending=verdict is Verdict.UNKNOWN)
        if isinstance(permit, Refusal):
            return permit
        try:
            refusal = await self._count(client, permit)
        except BaseException:  # The client has gone meanwhile.
            permit.release()
            raise
        if refusal is None:
            return permit
        permit.release()
        return refusal

    async def _count(self, client: ClientInfo, permit: Permit) -> Refusal | None:
        """Counts an admitted client on all servers, and under its token. Returns why it is refused after all."""
        redis, address = self._admission.redis, client.address
        if redis is not None and address is not None:
            counted = await redis.enter(address, self._limits.streams_per_address)
            if isinstance(counted, Refusal):
                return counted
            permit.on_release.append(lambda: redis.leave(counted))
        if client.token is None or not self._gate.asks_for_token:
            return None
        return await self._confirm(client.token, address, permit)

    async def _confirm(self, token: str, address: str | None, permit: Permit) -> Refusal | None:
        """Checks a token and confirms the permit, unless the token has as many streams as it may."""
        verdict, identity = await self._gate.check(token, address)
        if verdict is not Verdict.GOOD:
            return UNAUTHORIZED if verdict is Verdict.BAD else AUTH_UNAVAILABLE
        max_streams = self._gate.max_streams(token) or self._limits.streams_per_token
        if max_streams is not None:
            refusal = await self._count_token(holder_of(token, identity), max_streams, permit)
            if refusal is not None:
                return refusal
        permit.confirm(identity)
        return None

    async def _count_token(self, key: str, max_streams: int, permit: Permit) -> Refusal | None:
        refusal = permit.count_token(key, max_streams)
        if refusal is not None or (redis := self._admission.redis) is None:
            return refusal
        counted = await redis.enter_token(key, max_streams)
        if isinstance(counted, Refusal):
            return counted
        permit.on_release.append(lambda: redis.leave(counted))
        return None

    async def authorize(self, client: ClientInfo) -> Refusal | None:
        """Checks the token alone, for a request that opens no stream. None: the client may go on. Counts refusals."""
        if not self._gate.asks_for_token:
            return None
        verdict = (
            Verdict.BAD if client.token is None else (await self._gate.check(client.token, client.address)).verdict
        )
        if verdict is Verdict.GOOD:
            return None
        refusal = UNAUTHORIZED if verdict is Verdict.BAD else AUTH_UNAVAILABLE
        self._admission.record(refusal, client.wire)
        return refusal

    async def check_token(self, token: str, client: ClientInfo, permit: Permit) -> ClientInfo | VoxgateError:
        """Checks the token of a start, and confirms the permit. Returns the client with its identity, or why the token
        is refused. Counts refusals.
        """
        refusal = await self._confirm(token, client.address, permit)
        if refusal is None:
            return client._replace(identity=permit.identity)
        self._admission.record(refusal, client.wire)
        match refusal.kind:
            case RefusalKind.UNAUTHENTICATED:
                return Unauthorized("the token of the start is not good")
            case RefusalKind.TOO_MANY:
                return Overloaded(refusal.text)
            case _:
                return InternalError(refusal.text)
