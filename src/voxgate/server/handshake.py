"""The upgrade of an HTTP request to a websocket: checks of the headers, and the answers.

Nothing here reads or writes a socket. `http.HttpProtocol` calls `check` for each upgrade, sends refusals, and hands the
connection over to the websocket protocol with the scope from `scope_of`.
"""

from __future__ import annotations

import email.utils
import json
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

RawHeaders = list[tuple[bytes, bytes]]
"""Names are in lower case."""

WEBSOCKET_VERSION: Final = "13"
# Headers of a refusal by `websockets` that `encode_answer` writes itself, or that describe its text.
_OWN_HEADERS: Final = {"connection", "content-length", "content-type", "date"}


class Refused(NamedTuple):
    """The answer to a request that the server refuses."""

    status: int
    code: str
    """The `code` of the JSON body, for programs."""
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def encode_refusal(refused: Refused) -> bytes:
    """The whole answer. The connection closes after it."""
    body = json.dumps({"error": refused.text, "code": refused.code}).encode()
    return encode_answer(refused.status, [*refused.headers, ("content-type", "application/json")], body)


def encode_answer(status: int, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The whole answer. The connection closes after it."""
    own = [("date", email.utils.formatdate(usegmt=True)), ("content-length", str(len(body))), ("connection", "close")]
    headers = [*headers, *own]
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def has_body(headers: RawHeaders) -> bool:
    """True when a body follows the headers."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" \t0") != b"")
        for name, value in headers
    )


def check(method: str, url: bytes, http_version: str, headers: RawHeaders) -> Response | Refused:
    """The answer 101, or the refusal."""
    if not url.isascii():
        return Refused(400, "bad_request", "expected a path in ASCII, percent-encoded")
    decoded = Headers((name.decode("ascii"), value.decode("latin-1")) for name, value in headers)
    request = Request(url.decode(), decoded, method, f"HTTP/{http_version}")
    protocol = ServerProtocol()
    response = protocol.accept(request)
    protocol.parser.close()  # breaks its reference cycle with the protocol
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        return response
    kept = {name.lower(): value for name, value in response.headers.raw_items() if name.lower() not in _OWN_HEADERS}
    if decoded.get_all("sec-websocket-version") != [WEBSOCKET_VERSION]:
        kept["sec-websocket-version"] = WEBSOCKET_VERSION
    text = " ".join(bytes(response.body).decode().split())
    return Refused(response.status_code, "bad_handshake", text, tuple(kept.items()))


def scope_of(http_scope: Any, url: bytes) -> dict[str, Any]:
    """The ASGI scope of a websocket, from that of its HTTP request."""
    path, _, query = url.partition(b"?")
    root: str = http_scope["root_path"]
    offered = [value for name, value in http_scope["headers"] if name == b"sec-websocket-protocol"]
    return {
        "type": "websocket",
        "asgi": {**http_scope["asgi"], "spec_version": "2.4"},
        "http_version": http_scope["http_version"],
        "scheme": "wss" if http_scope["scheme"] == "https" else "ws",
        "server": http_scope["server"],
        "client": http_scope["client"],
        "root_path": root,
        "path": root + unquote(path.decode("ascii")),
        "raw_path": root.encode("ascii") + path,
        "query_string": query,
        "headers": http_scope["headers"],
        "subprotocols": [name.strip() for value in offered for name in value.decode("latin-1").split(",")],
        "state": http_scope["state"],
        "extensions": {"websocket.http.response": {}},
    }
