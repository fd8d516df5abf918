"""The way in, the same for every wire: access control, then admission."""

from __future__ import annotations

from typing import Final

from voxgate.errors import InternalError, Unauthorized, VoxgateError
from voxgate.models import Model
from voxgate.protocol.machine import Route
from voxgate.service.access import Gate, Verdict
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
        if token is None or verdict is Verdict.GOOD or isinstance(permit, Refusal):
            return permit
        try:
            verdict, identity = await gate.check(token, client.address)
            if verdict is Verdict.GOOD:
                permit.confirm(identity)
        finally:
            if permit.is_pending:
                permit.release()
        return permit if verdict is Verdict.GOOD else AUTH_UNAVAILABLE if verdict is Verdict.UNKNOWN else UNAUTHORIZED

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
        verdict, identity = await self._gate.check(token, client.address)
        match verdict:
            case Verdict.GOOD:
                permit.confirm(identity)
                return client._replace(identity=identity)
            case Verdict.BAD:
                self._admission.record(UNAUTHORIZED, client.wire)
                return Unauthorized("the token of the start is not good")
            case Verdict.UNKNOWN:
                self._admission.record(AUTH_UNAVAILABLE, client.wire)
                return InternalError(AUTH_UNAVAILABLE.text)
