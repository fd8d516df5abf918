"""By which names clients may call the server.

A web page of another site can have its own name resolve to the address of a server on the reader's machine (DNS
rebinding). For the browser that server is the page's own origin then, and all it answers can be read. Only the `Host`
of the request shows it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from voxgate.errors import ConfigError
from voxgate.service.access.addresses import Headers, values_of

__all__ = ["Hosts", "host_of", "is_loopback"]

AUTO: Final = "auto"
LOCAL: Final = "local"
LOCAL_ITEMS: Final = ("localhost", "127.0.0.0/8", "::1")

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_SENT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/?#@\s]+)(:[0-9]*)?")
_MAX_CHARACTERS: Final = 255  # of a name


def is_loopback(host: str) -> bool:
    """Whether `host`, as `server.host` names it, is this machine alone."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


class Hosts:
    """The names that the server answers to."""

    def __init__(self, text: str, is_local: bool) -> None:
        """`text`: `server.allowed_hosts`; ConfigError for what is no name. `is_local`: only this machine can connect,
        and needs no token.
        """
        items = [item for item in (item.strip().lower() for item in text.split(",")) if item]
        if not items:
            raise ConfigError("server.allowed_hosts: expected auto, local, * or names such as voice.example, got none")
        self._any = "*" in items or (AUTO in items and not is_local)
        self._names: set[str] = set()
        self._suffixes: tuple[str, ...] = ()
        self._networks: list[IPv4Network | IPv6Network] = []
        for item in items:
            if item in (AUTO, LOCAL):
                for local in LOCAL_ITEMS:
                    self._add(local)
            elif item != "*":
                self._add(item)

    def _add(self, item: str) -> None:
        try:
            self._networks.append(ip_network(item[1:-1] if item[:1] + item[-1:] == "[]" else item))
        except ValueError:
            name = _ascii(item.removeprefix("*.").removesuffix("."))
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    "server.allowed_hosts: expected auto, local, *, names such as voice.example or *.example.com, "
                    f"addresses or networks, all without a port, got {item!r}"
                ) from None
            if item.startswith("*."):
                self._suffixes += (f".{name}",)
            else:
                self._names.add(name)

    def allow(self, headers: Headers) -> bool:
        """Whether a request with these headers may be answered. Browsers always send a `Host`: without one it is
        none.
        """
        return self._any or all(self._allows(host_of(value)) for value in values_of(headers, b"host"))

    def _allows(self, host: str | None) -> bool:
        if host is None:
            return False
        address = _address(host)
        if address is not None:
            return any(address in network for network in self._networks)
        return host in self._names or host.endswith(self._suffixes)


def host_of(value: bytes) -> str | None:
    """The name in a `Host` header, in lower case and without its port; None when it is no name."""
    found = _SENT.fullmatch(value.decode("latin-1").strip()) if value.isascii() else None
    host = None if found is None else found[1].lower().strip("[]").removesuffix(".")
    return host if host and len(host) <= _MAX_CHARACTERS else None


def _ascii(name: str) -> str:
    """As browsers write it."""
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
