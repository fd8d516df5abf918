"""Files, and the forms that carry them."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

from helpers.http_client import HttpClient, request

__all__ = ["BOUNDARY", "form", "part", "transcribe", "wav"]

BOUNDARY = "a-boundary"


def wav(pcm: bytes, rate: int = 16_000, channels: int = 1) -> bytes:
    """s16 samples as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return file.getvalue()


def part(name: str, value: str | bytes) -> bytes:
    """One part: a text is a field, bytes are a file."""
    is_file = isinstance(value, bytes)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    head += '; filename="talk.wav"\r\nContent-Type: audio/wav\r\n\r\n' if is_file else "\r\n\r\n"
    return head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"


def form(*fields: tuple[str, str | bytes]) -> bytes:
    return b"".join(part(name, value) for name, value in fields) + f"--{BOUNDARY}--\r\n".encode()


def head(n_bytes: int | None, path: str = "/v1/audio/transcriptions", **headers: str) -> bytes:
    framing = {"transfer_encoding": "chunked"} if n_bytes is None else {"content_length": str(n_bytes)}
    return request("POST", path, content_type=f"multipart/form-data; boundary={BOUNDARY}", **framing, **headers)


def transcribe(port: int, *fields: tuple[str, str | bytes], **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the answer, which is JSON unless its type says otherwise."""
    body = form(*fields)
    with HttpClient(port) as client:
        client.send(head(len(body), **headers) + body)
        status, told, answer = client.response()
    return status, told, json.loads(answer) if told["content-type"] == "application/json" else answer.decode()
