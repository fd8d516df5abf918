"""The gate: all that is asked of a client before it is served."""

from __future__ import annotations

from voxgate.config import AuthSettings, ServerSettings
from voxgate.service.access.addresses import Headers, Peer, Proxies
from voxgate.service.access.credentials import Hook, Tokens, Verdict, read_tokens
from voxgate.service.access.hosts import Hosts, is_loopback
from voxgate.service.access.origins import Origins

__all__ = ["Gate"]


class Gate:
    """Made once per server process from the settings; ConfigError for what is wrong with them."""

    def __init__(self, auth: AuthSettings, server: ServerSettings) -> None:
        self._proxies = Proxies(server.trusted_proxies)
        self._origins = Origins(auth.origins)
        self._tokens = Tokens(read_tokens(auth.tokens, auth.tokens_file))
        self.hook = None if auth.hook is None else Hook.load(auth.hook, auth.hook_timeout_s, auth.hook_calls)
        self.asks_for_token = self.hook is not None or len(self._tokens) > 0
        """Whether somebody without a token is sent away."""

        self._hosts = Hosts(server.allowed_hosts, is_loopback(server.bare_host) and not self.asks_for_token)

    def peer(self, address: str | None, is_secure: bool, headers: Headers) -> Peer:
        """Who is at the other end, behind proxies that are trusted."""
        return self._proxies.peer(address, is_secure, headers)

    def allows_host(self, address: str | None, headers: Headers) -> bool:
        """Whether the server may be called by the name in these headers. `address`: the other end of the connection; a
        proxy that is trusted may use any name.
        """
        return self._hosts.allow(headers) or self._proxies.trusts(address)

    def allows_origin(self, headers: Headers, peer: Peer) -> bool:
        """Whether a web page of this origin may connect; what is no web page may."""
        return self._origins.allow(headers, peer)

    def judge(self, token: str) -> Verdict:
        """What can be said at once; UNKNOWN where the hook has to be asked."""
        if token in self._tokens:
            return Verdict.GOOD
        return Verdict.BAD if self.hook is None or not token else Verdict.UNKNOWN

    async def check(self, token: str, address: str | None = None) -> Verdict:
        """What can be said at all, to a client of this address; UNKNOWN when the hook failed."""
        verdict = self.judge(token)
        if verdict is Verdict.UNKNOWN and self.hook is not None:
            verdict = await self.hook.ask(token, address)
        return verdict
