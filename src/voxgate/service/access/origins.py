"""Which web pages may connect. Browsers send the origin of the page with every websocket; other clients need not."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from voxgate.errors import ConfigError
from voxgate.service.access.addresses import Headers, values_of
from voxgate.service.client_info import ClientInfo

__all__ = ["Origins", "origin_of"]

SAME_ORIGIN: Final = "same-origin"
PORTS: Final = {"http": 80, "https": 443}

_Origin = tuple[str, str, int | None]  # scheme, host, port


class Origins:
    """The origins that may connect."""

    def __init__(self, text: str) -> None:
        """`text`: origins, `same-origin` or `*`, separated by commas. ConfigError for anything else."""
        items = [item for item in (item.strip() for item in text.split(",")) if item]
        if not items:
            raise ConfigError(
                "auth.origins: expected same-origin, * or origins such as https://app.example.com, got none"
            )
        self._any = "*" in items
        self._same = SAME_ORIGIN in items
        self._allowed = set()
        for item in items:
            if item in ("*", SAME_ORIGIN):
                continue
            origin = _parse(item.removesuffix("/"))
            if origin is None:
                raise ConfigError(
                    "auth.origins: expected same-origin, * or an origin such as https://app.example.com (a scheme, a "
                    f"host, perhaps a port, no path), got {item!r}"
                )
            self._allowed.add(origin)

    def allow(self, client: ClientInfo) -> bool:
        """Whether the client may connect. Without an origin it is no web page, and may."""
        if client.origin is None or self._any:
            return True
        # `null` (a sandboxed frame, a file) may be any page, and has no host.
        origin = _sent(client.origin)
        if origin is None:
            return False
        if origin in self._allowed:
            return True
        scheme = "https" if client.is_secure else "http"
        return self._same and client.host is not None and origin == _sent(f"{scheme}://{client.host}")


def origin_of(headers: Headers) -> str | None:
    """The origin that a request names, for ClientInfo: empty, which no page has, when it names several."""
    values = values_of(headers, b"origin")
    if not values:
        return None
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _sent(text: str) -> _Origin | None:
    """Parses an origin that a client sent. Browsers write it in ASCII, and nothing else is parsed: a host of a few
    thousand other letters takes a tenth of a second.
    """
    return _parse(text) if text.isascii() else None


def _parse(text: str) -> _Origin | None:
    """None when `text` is no origin. Case, and a port that is the default, make no difference."""
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname
        if (
            not host
            or not parts.scheme
            or "@" in parts.netloc
            or text != f"{text[: len(parts.scheme)]}://{parts.netloc}"
        ):
            return None
        if not host.isascii():
            host = host.encode("idna").decode()  # as browsers write it
    except ValueError:
        return None
    return parts.scheme, host, PORTS.get(parts.scheme) if port is None else port
