"""Headers of strangers: tokens, origins, forwarded addresses, in any shape. Nobody is let in by what cannot be read."""

from __future__ import annotations

import base64

from fuzz.source import Source
from voxgate.config import AuthSettings, ServerSettings
from voxgate.errors import ConfigError
from voxgate.service.access import Gate, Verdict, credentials_of, host_of
from voxgate.service.access.credentials import TOKEN_SUBPROTOCOL

TOKENS = ("good-token", "geheim-e", "x" * 500)
PROXIES = "10.0.0.0/8,::1,192.168.1.7"
ORIGINS = "same-origin,https://app.example.com,http://localhost:3000,https://bücher.example"
HOSTS = "local,*.example.com,server,10.0.0.0/8"
GATE = Gate(
    AuthSettings(tokens=",".join(TOKENS), origins=ORIGINS), ServerSettings(trusted_proxies=PROXIES, allowed_hosts=HOSTS)
)
ADDRESSES = (
    "10.1.2.3",
    "192.168.1.7",
    "::1",
    "203.0.113.9",
    "2001:db8::1",
    "::ffff:10.1.2.3",
    "unknown",
    "",
    "_x",
    None,
)
NAMES = (
    b"authorization",
    b"origin",
    b"host",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"forwarded",
)


def a_value(source: Source) -> bytes:
    token = source.pick(TOKENS)
    kind = source.integer(0, 9)
    if kind == 0:
        return source.take(source.integer(0, 40))
    if kind <= 2:
        return (
            source.pick((b"Bearer ", b"bearer  ", b"Basic ", b"Bearer\t", b""))
            + token.encode()
            + source.take(source.size(2))
        )
    if kind <= 5:
        origins = (
            "https://app.example.com",
            "http://server",
            "null",
            "https://app.example.com:443",
            "http://[::1]:80",
            "//x",
            "http://a@b",
        )
        return source.pick(origins).encode() + source.take(source.size(3))
    if kind <= 8:
        return b", ".join((source.pick(ADDRESSES) or "").encode() for _ in range(source.integer(1, 4))) + source.take(
            source.size(2)
        )
    return source.pick(
        (b"http", b"https", b"wss", b"http,https", b"server", b"server:80", b"[::1]:8080", b"\xff" * 20, b"a" * 3000)
    )


def settings_are_good_or_refused(source: Source) -> None:
    text = source.take(source.integer(0, 60)).decode("utf-8", "replace") + source.pick(
        ("", "*", "same-origin", ",", "::1")
    )
    field = source.integer(0, 3)
    try:
        Gate(
            AuthSettings(tokens=text if field == 0 else "", origins=text if field == 1 else "*"),
            ServerSettings(trusted_proxies=text if field == 2 else "", allowed_hosts=text if field == 3 else "*"),
        )
    except ConfigError as error:
        assert str(error)
        assert field != 0 or len(text) < 4 or text not in str(error)


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.integer(0, 7) == 0:
        settings_are_good_or_refused(source)
        return
    headers = [(source.pick(NAMES), a_value(source)) for _ in range(source.integer(0, 4))]
    subprotocols = []
    for _ in range(source.integer(0, 2)):
        encoded = base64.urlsafe_b64encode(source.pick(TOKENS).encode()).decode().rstrip("=")
        damaged = encoded[: source.integer(0, len(encoded))] if source.flag() else encoded
        subprotocols.append(source.pick((TOKEN_SUBPROTOCOL, "voxgate.v1", "")) + damaged)
    address = source.pick(ADDRESSES)
    peer = GATE.client(address, source.flag(), headers)
    if address is not None and not address.startswith(("10.", "192.168.1.7", "::1", "::ffff:10.")):
        named = [value for name, value in headers if name == b"x-forwarded-for"]
        assert (
            GATE.client(address, False, [item for item in headers if item[0] != b"x-forwarded-for"]).address
            == peer.address
        ), f"a stranger at {address} is believed: {named}"
    hosts = [host_of(value) for name, value in headers if name == b"host"]
    if GATE.allows_host("203.0.113.9", headers):
        named = ("server", "localhost", "::1", "127.", "10.")
        assert all(host is not None and (host.startswith(named) or host.endswith(".example.com")) for host in hosts)
    token = credentials_of(headers, subprotocols)
    if token is not None and GATE.judge(token) is Verdict.GOOD:
        assert token in TOKENS
        said = [value.partition(b" ")[2].strip() for name, value in headers if name == b"authorization"]
        assert token.encode() in said or any(name.startswith(TOKEN_SUBPROTOCOL) for name in subprotocols)
    origins = [value for name, value in headers if name == b"origin"]
    allowed = GATE.allows_origin(peer)
    if not origins:
        assert allowed
    elif allowed:
        assert len(origins) == 1
        assert origins[0].partition(b"://")[0].lower() in (b"http", b"https")


SEEDS = [
    bytes([1, 1, 0, 2, 1, 0, 0, 0, 3, 0, 1]) + bytes(range(40)),
    bytes([2, 3, 1, 5, 0, 2, 0, 3, 8, 2, 1, 3, 0, 0, 9, 1]) + bytes(range(60)),
    bytes([0, 20]) + b"https://a.example, *" + bytes(4),
    bytes([0, 12]) + b"10.0.0.0/8,x" + bytes([0, 2]),
    bytes(range(200)),
]
