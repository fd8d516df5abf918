"""The proxy of a connection, and the environment variable that names it."""

from __future__ import annotations

import ipaddress
import os
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from .redaction import public_url

__all__ = ["Proxy", "find_proxy"]


@dataclass(frozen=True)
class Proxy:
    url: str
    variable: str
    """The environment variable that names it; "the system's settings" when no variable does."""

    def __str__(self) -> str:
        return f"the proxy {public_url(self.url)} ({self.variable})"


def find_proxy(url: str) -> Proxy | None:
    """The proxy for a websocket URL; None for a direct connection, such as to every address of this machine.

    The order of the variables is that of `websockets`: ws_proxy or wss_proxy, socks_proxy, https_proxy, and for ws
    http_proxy. `no_proxy` is respected.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    if _is_local(host) or urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    proxies = urllib.request.getproxies()
    for scheme in ("wss", "socks", "https") if parts.scheme == "wss" else ("ws", "socks", "https", "http"):
        if found := proxies.get(scheme):
            if scheme == "socks" and found.startswith("http://"):  # as some systems write it
                found = "socks5h://" + found.removeprefix("http://")
            names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
            return Proxy(found, next((name for name in names if os.environ.get(name)), "the system's settings"))
    return None


def _is_local(host: str) -> bool:
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
