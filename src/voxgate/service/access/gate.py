"""The gate: every check of a client that needs no knowledge of the server's load."""

from __future__ import annotations

from collections.abc import Sequence

from voxgate.config import AuthSettings, ServerSettings
from voxgate.service.access.addresses import Headers, Proxies, values_of
from voxgate.service.access.credentials import Hook, Judgement, Tokens, Verdict, credentials_of, read_tokens
from voxgate.service.access.hosts import Hosts, is_loopback
from voxgate.service.access.origins import Origins, origin_of
from voxgate.service.client_info import ClientInfo

__all__ = ["Gate"]


class Gate:
    """Created once per server process from the settings; ConfigError for invalid ones."""

    def __init__(self, auth: AuthSettings, server: ServerSettings) -> None:
        self._proxies = Proxies(server.trusted_proxies)
        self._origins = Origins(auth.origins)
        self._tokens = Tokens(read_tokens(auth.tokens, auth.tokens_file))
        self.hook = None if auth.hook is None else Hook.load(auth.hook, auth.hook_timeout_s, auth.hook_calls)
        self.asks_for_token = self.hook is not None or len(self._tokens) > 0
        """Clients without a token are refused."""

        self._hosts = Hosts(server.allowed_hosts, is_loopback(server.bare_host) and not self.asks_for_token)

    def client(
        self, address: str | None, is_secure: bool, headers: Headers, subprotocols: Sequence[str] = ()
    ) -> ClientInfo:
        """The client behind proxies that are trusted.

        `address`: the other end of the connection, None for one without; `is_secure`: the connection is TLS; `headers`:
        of the request, or the same names from another protocol's metadata; `subprotocols`: those that a websocket
        offers.
        """
        headers = list(headers)
        peer = self._proxies.peer(address, is_secure, headers)
        return ClientInfo(
            peer.address,
            peer.is_secure,
            peer.host,
            origin_of(headers),
            credentials_of(headers, subprotocols),
            _first(headers, b"traceparent"),
            _first(headers, b"tracestate"),
        )

    def allows_host(self, address: str | None, headers: Headers) -> bool:
        """Whether a request may use the name of the server in these headers. `address`: the other end of the
        connection; a proxy that is trusted may use any name.
        """
        return self._hosts.allow(headers) or self._proxies.trusts(address)

    def allows_origin(self, client: ClientInfo) -> bool:
        """Whether the client is a web page of an origin that may connect, or no web page."""
        return self._origins.allow(client)

    def judge(self, token: str) -> Verdict:
        """The verdict without asking the hook; UNKNOWN when only the hook can tell."""
        if token in self._tokens:
            return Verdict.GOOD
        return Verdict.BAD if self.hook is None or not token else Verdict.UNKNOWN

    def max_streams(self, token: str) -> int | None:
        """The limit of streams that the settings give to this token; None: none of its own."""
        return self._tokens.max_streams(token)

    async def check(self, token: str, address: str | None = None) -> Judgement:
        """The verdict for a client of this address, from the hook if need be; UNKNOWN when the hook failed."""
        verdict = self.judge(token)
        if verdict is Verdict.UNKNOWN and self.hook is not None:
            return await self.hook.ask(token, address)
        return Judgement(verdict)


def _first(headers: Headers, name: bytes) -> str | None:
    values = values_of(headers, name)
    return values[0].decode("latin-1") if values else None
