"""What tests say to a server, and how they read its answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from helpers.event_reader import EventReader

TIMEOUT_S = 30


class Client(EventReader):
    """A plain websocket client: sends what it is told, however wrong, and collects what comes back."""

    def __init__(self, url: str, **options: Any) -> None:
        """`options` of `connect`: additional_headers, subprotocols, origin."""
        # With a bounded queue, a client that leaves without reading waits 10 s for the server's close frame behind it.
        options.setdefault("max_queue", None)
        self._connecting = connect(url, compression=None, max_size=None, ping_interval=None, **options)
        self.close_code: int | None = None
        self.close_reason: str | None = None

    def __enter__(self) -> Client:
        self.socket: ClientConnection = self._connecting.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._connecting.__exit__(*exc)

    def send(self, *messages: str | bytes | dict[str, Any]) -> None:
        for message in messages:
            self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    def receive(self) -> dict[str, Any] | None:
        """The next event; None when the server has closed (see `close_code`)."""
        try:
            event: dict[str, Any] = json.loads(self.socket.recv(TIMEOUT_S))
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else 1006
            self.close_reason = closed.rcvd.reason if closed.rcvd else ""
            return None
        return event


def refused(url: str, **options: Any) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, headers (names in lower case) and JSON body of a refusal before the upgrade."""
    try:
        with Client(url, **options):
            raise AssertionError("it was let in")
    except InvalidStatus as error:
        response = error.response
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return response.status_code, headers, json.loads(response.body)


def start(sample_rate: int = 16_000, channels: int = 1, encoding: str = "s16", **options: Any) -> dict[str, Any]:
    bit_depth, is_float = {
        "u8": (8, False),
        "s16": (16, False),
        "s24": (24, False),
        "s32": (32, False),
        "f32": (32, True),
        "f64": (64, True),
    }[encoding]
    audio_format = {"channels": channels, "sample_rate": sample_rate, "bit_depth": bit_depth, "is_float": is_float}
    return {"request": "start", "format": audio_format, **options}


STOP: dict[str, Any] = {"request": "stop", "disconnect": True}
PAUSE: dict[str, Any] = {"request": "stop", "disconnect": False}
FLUSH: dict[str, Any] = {"request": "flush"}
CLEAR: dict[str, Any] = {"request": "clear"}
KEEP_ALIVE: dict[str, Any] = {"request": "keep_alive"}


def stream(url: str, *messages: str | bytes | dict[str, Any]) -> list[dict[str, Any]]:
    """Sends everything, stops, and returns every event up to the close, which must be a clean one."""
    with Client(url) as client:
        client.send(*messages, STOP)
        events = client.rest()
        assert client.close_code == 1000, (client.close_code, events)
    return events


def encode(planes: np.ndarray, encoding: str = "s16") -> bytes:
    """float (channels, frames), -1..1 -> interleaved wire bytes."""
    frames = np.ascontiguousarray(np.atleast_2d(planes).T)
    if encoding == "f32":
        return frames.astype("<f4").tobytes()
    assert encoding == "s16"
    return np.clip(np.round(frames * 32768), -32768, 32767).astype("<i2").tobytes()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for offset in range(0, len(data), size):
        yield data[offset : offset + size]


def of_type(events: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def story(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events in the order of the audio. On the wire `active` and `inactive` wait for nothing and may overtake
    results.
    """
    rank = {"active": 0, "inactive": 1, "segment": 2, "error": 2}
    told = [event for event in events if event["type"] in rank]
    counts: dict[tuple[int, int], int] = {}
    keys = []
    for event in told:
        key = (event["channel"], rank[event["type"]])
        counts[key] = counts.get(key, 0) + 1
        keys.append((event["channel"], counts[key], key[1]))
    return [event for _, event in sorted(zip(keys, told, strict=True), key=lambda pair: pair[0])]


def bursts(*spans_s: tuple[float, float], length_s: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """float32 (frames,): faint noise, with loud voice-like buzz at the given times, for the energy detector."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(length_s * rate)) / rate
    audio = 1e-3 * rng.standard_normal(len(time_s))
    for start_s, end_s in spans_s:
        inside = (time_s >= start_s) & (time_s < end_s)
        buzz = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12))
        audio += inside * 0.2 * buzz
    return np.clip(audio, -1, 1).astype(np.float32)
