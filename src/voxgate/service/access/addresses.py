"""Whose connection it is, also behind proxies."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from voxgate.errors import ConfigError

__all__ = ["Headers", "Peer", "Proxies", "values_of"]

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""

IPV6_NETWORK_BITS = 64  # the least that one customer is given


class Peer(NamedTuple):
    """The client of a connection."""

    address: str | None
    """What is counted as one: an IPv4 address, or the /64 network of an IPv6 one; None: it is not known."""
    is_secure: bool
    """It speaks TLS, to us or to the proxy."""
    host: str | None
    """The host (and port) that it asked for."""


class Proxies:
    """The proxies whose word about their clients is taken."""

    def __init__(self, text: str) -> None:
        """`text`: addresses and networks separated by commas, or `*`. ConfigError when it is neither."""
        items = [item for item in (item.strip() for item in text.split(",")) if item]
        self._everybody = "*" in items
        try:
            self._networks = [ip_network(item) for item in items if item != "*"]
        except ValueError as error:
            raise ConfigError(
                f"server.trusted_proxies: expected addresses or networks such as 10.0.0.0/8, or *; {error}"
            ) from None

    def peer(self, peer: str | None, is_secure: bool, headers: Headers) -> Peer:
        """`peer`: the address of the other end of the connection, None for one without (a Unix socket, which is
        believed only with `*`).
        """
        address = _parse(peer) if peer else None
        host = _last(headers, b"host")
        if not self._trusts(address):
            return Peer(_counted(address), is_secure, host)
        # Each proxy appends whom it has heard: the right-most address that is none of ours is the client. Whatever
        # stands to its left was written by the client.
        hops = b",".join(values_of(headers, b"x-forwarded-for")).decode("latin-1").split(",")
        for hop in reversed(hops):
            parsed = _parse(hop)
            if parsed is None:
                break  # it is not known: all those of this proxy count as one
            address = parsed
            if not self._trusts(address):
                break
        scheme = _last(headers, b"x-forwarded-proto")
        if scheme is not None:
            is_secure = scheme.lower() in ("https", "wss")
        return Peer(_counted(address), is_secure, _last(headers, b"x-forwarded-host") or host)

    def trusts(self, peer: str | None) -> bool:
        """Whether the other end of a connection, of this address, is one of these proxies."""
        return self._trusts(_parse(peer) if peer else None)

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        if self._everybody:
            return True
        return address is not None and any(address in network for network in self._networks)


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _last(headers: Headers, name: bytes) -> str | None:
    """The value that the nearest proxy has written: of several headers the last, and in it the last item."""
    values = values_of(headers, name)
    return values[-1].rpartition(b",")[2].decode("latin-1").strip() if values else None


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """`1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _counted(address: IPv4Address | IPv6Address | None) -> str | None:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_NETWORK_BITS), strict=False))
    return None if address is None else str(address)
