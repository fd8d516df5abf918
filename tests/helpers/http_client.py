"""An HTTP client made of a plain socket, which reads the answer while it still sends the body."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from helpers.raw import Raw


def request(method: str, path: str, host: str = "localhost", **headers: str) -> bytes:
    """The head of a request; underscores are hyphens."""
    fields = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class HttpClient(Raw):
    """One connection. A stream is `open`, then `audio` and `event` in any order, then `end` and `rest`."""

    _text = b""  # of the answer, of events that nobody has read

    def post(self, path: str, method: str = "POST", **headers: str) -> HttpClient:
        """The head of a request with a chunked body."""
        self.send(request(method, path, transfer_encoding="chunked", **headers))
        return self

    def open(self, path: str = "/api/v1/segmented", **headers: str | None) -> HttpClient:
        """The same; the answer must begin."""
        self.post(path, **{name: value for name, value in headers.items() if value is not None})
        status, _ = self.head()
        assert status == 200
        return self

    def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = self.read_until(b"\r\n\r\n").decode("latin-1").strip().split("\r\n")
        return int(first.split()[1]), {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    def audio(self, data: bytes) -> bool:
        return self.send(chunk(data))

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def piece(self) -> bytes:
        """The next chunk of the answer; empty at its end."""
        size = int(self.read_until(b"\r\n"), 16)
        data = b""
        while len(data) < size:
            byte = self.read_until(b"\n")
            data += byte
        assert len(data) == size, data
        self.read_until(b"\r\n")
        return data

    def event(self) -> dict[str, Any] | None:
        """The next event, of JSON lines; None at the end of the answer."""
        while b"\n" not in self._text:  # a proxy may cut the answer into other chunks
            piece = self.piece()
            if not piece:
                return None
            self._text += piece
        line, _, self._text = self._text.partition(b"\n")
        return json.loads(line)

    def events(self) -> list[dict[str, Any]]:
        """All events up to the end of the answer."""
        return list(iter(self.event, None))

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and JSON of an answer with a length."""
        status, headers, body = self.response()
        return status, headers, json.loads(body)


def http_stream(port: int, path: str, pieces: Iterable[bytes], **headers: str) -> list[dict[str, Any]]:
    """Sends each of `pieces` as a chunk, and returns all events."""
    with HttpClient(port).open(path, **headers) as client:
        for piece in pieces:
            client.audio(piece)
        client.end()
        return client.events()


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")
