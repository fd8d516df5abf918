"""A stand-in for streamer-template, the Rust server, as a client meets it.

What its sources do, and Voxgate does not:

- it ends a session with an empty close frame, and knows no notices, no codes of errors, no tokens
- it takes s16 and f32; another format, or a message that ends inside a sample, ends its decoder without a word. Then
  the next message is lost too, and a new session with the same start begins at 0
- its times are float32, and on the simple route they are added up
- interims come on the segmented route whether or not they were asked for
- where speech begins and ends depends on how the audio arrives: a window takes all the samples that are there

The detector is the level of a window, in place of Silero.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection

Samples = NDArray[np.float32]

RATE = 16_000
WINDOW = 480  # samples: 30 ms
PAD_MS = 600
REDEMPTION_MS = 600
MIN_SPEECH_MS = 90
INTERIM_MS = 500
PIECE = 512  # samples of a channel that leave the decoder for one message
QUEUED = 8  # pieces that a runner takes at once


def f32(value: float) -> float:
    """As serde writes a float32: the shortest decimal that gives it again."""
    return float(str(np.float32(value)))


class Decoder:
    """Bytes to pieces of each channel. ValueError: it ended, as on a sample that is not whole."""

    def __init__(self, format: dict[str, Any]) -> None:
        self._channels = format["channels"]
        self._kind = (format["bit_depth"], format["is_float"])
        self._rest = np.zeros(0, np.float32)

    def push(self, data: bytes) -> Samples:
        if self._kind == (16, False):
            samples = np.frombuffer(data, "<i2").astype(np.float32) / 32_767
        elif self._kind == (32, True):
            samples = np.frombuffer(data, "<f4")
        else:
            raise ValueError("unsupported format")
        self._rest = np.concatenate((self._rest, samples))
        n_taken = min(PIECE, len(self._rest) // self._channels) * self._channels
        piece, self._rest = self._rest[:n_taken], self._rest[n_taken:]
        return piece.reshape(-1, self._channels).T

    def end(self) -> Samples:
        n_whole = len(self._rest) // self._channels * self._channels
        return self._rest[:n_whole].reshape(-1, self._channels).T


class Simple:
    """Every group of pieces is a call; the bounds of its result are sums of float32."""

    def __init__(self) -> None:
        self._end = np.float32(0)

    def push(self, audio: Samples) -> list[dict[str, Any]]:
        start, self._end = self._end, self._end + np.float32(len(audio)) / np.float32(RATE)
        times = {"start_time": f32(start), "end_time": f32(self._end)}
        return [{"type": "segment", **times, "count": len(audio)}]

    def end(self) -> list[dict[str, Any]]:
        return []


class Segmented:
    """`active` after 90 ms of speech, `inactive` and a final after 600 ms of silence, an interim every 500 ms."""

    def __init__(self) -> None:
        self._audio = np.zeros(0, np.float32)
        self._processed = self._silent = 0
        self._start_ms: int | None = None
        self._speech_ms = 0.0
        self._speaking = False
        self._last_ms = 0.0

    def push(self, audio: Samples) -> list[dict[str, Any]]:
        self._audio = np.concatenate((self._audio, audio))
        events: list[dict[str, Any]] = []
        n_windows = (len(self._audio) - self._processed) // WINDOW
        for number in range(n_windows):
            end = self._processed + WINDOW if number < n_windows - 1 else len(self._audio)
            events += self._window(self._audio[self._processed : end])
            self._processed = end
        now_ms = 1000 * len(self._audio) / RATE
        if self._speaking and now_ms - self._last_ms >= INTERIM_MS:
            self._last_ms = now_ms
            events.append(self._segment(int(now_ms), is_final=False))
        return events

    def _window(self, window: Samples) -> list[dict[str, Any]]:
        is_speech = bool(np.sqrt(np.mean(window**2)) > 0.01)
        self._silent = 0 if is_speech else self._silent + len(window)
        if self._start_ms is None:
            if is_speech:
                self._start_ms, self._speech_ms = max(0, 1000 * self._processed // RATE - PAD_MS), 0.0
            return []
        self._speech_ms += 1000 * len(window) / RATE
        events: list[dict[str, Any]] = []
        if not self._speaking and self._speech_ms > MIN_SPEECH_MS:
            self._speaking = True
            events.append({"type": "active", "time": f32(self._start_ms / 1000)})
        elif not is_speech and not self._speaking:
            self._start_ms = None
        elif not is_speech and 1000 * self._silent / RATE > REDEMPTION_MS:
            end_ms = 1000 * (self._processed + len(window) - self._silent) // RATE
            events += [{"type": "inactive", "time": f32(end_ms / 1000)}, self._segment(end_ms, is_final=True)]
            self._start_ms, self._speaking, self._last_ms = None, False, end_ms
        return events

    def end(self) -> list[dict[str, Any]]:
        if not self._speaking:
            return []
        end_s = len(self._audio) / RATE
        return [{"type": "inactive", "time": f32(end_s)}, self._segment(int(1000 * end_s), is_final=True)]

    def _segment(self, end_ms: int, is_final: bool) -> dict[str, Any]:
        assert self._start_ms is not None
        times = {"start_time": f32(self._start_ms / 1000), "end_time": f32(end_ms / 1000)}
        return {"type": "segment", **times, "is_final": is_final, "count": (end_ms - self._start_ms) * 16}


async def handler(websocket: ServerConnection) -> None:
    """For `scripted_server.serving`; the path says the route. Audio must be at 16 kHz: it has no resampler."""
    assert websocket.request is not None
    runner = Segmented if websocket.request.path.endswith("/segmented") else Simple
    start: dict[str, Any] | None = None
    async for message in websocket:
        if isinstance(message, str) and (start := _start(message)) is not None:
            break
    while start is not None:
        start = await _session(websocket, start, runner)
    async with websocket.send_context():
        websocket.protocol.send_close()  # without a code, which `close` always sends


def _start(text: str) -> dict[str, Any] | None:
    request: dict[str, Any] = json.loads(text)
    return request if request["request"] == "start" else None


async def _session(
    websocket: ServerConnection, start: dict[str, Any], runner: type[Simple | Segmented]
) -> dict[str, Any] | None:
    """Until its end; the start of the next one, None when there is none."""
    channels = start["format"]["channels"]
    decoder = Decoder(start["format"])
    queues: list[asyncio.Queue[Samples | None]] = [asyncio.Queue(QUEUED) for _ in range(channels)]
    async with asyncio.TaskGroup() as runners:
        for channel, queue in enumerate(queues):
            runners.create_task(_run(websocket, channel, queue, runner()))
        following = await _feed(websocket, start, decoder, queues)
        for queue in queues:
            await queue.put(None)
    return following


async def _feed(
    websocket: ServerConnection, start: dict[str, Any], decoder: Decoder, queues: list[asyncio.Queue[Samples | None]]
) -> dict[str, Any] | None:
    has_ended = False
    async for message in websocket:
        if isinstance(message, str):
            if (request := json.loads(message))["request"] == "start":
                return request  # type: ignore[no-any-return]
            following = None if request["disconnect"] else start
            break
        if has_ended:
            return start  # nobody takes this message
        try:
            piece = decoder.push(message)
        except ValueError:
            has_ended = True
        else:
            await _put(queues, piece)
    else:
        return None
    if not has_ended:
        await _put(queues, decoder.end())
    return following


async def _put(queues: list[asyncio.Queue[Samples | None]], piece: Samples) -> None:
    for queue, samples in zip(queues, piece, strict=True):
        if samples.size:
            await queue.put(samples)


async def _run(
    websocket: ServerConnection, channel: int, queue: asyncio.Queue[Samples | None], runner: Simple | Segmented
) -> None:
    piece: Samples | None = np.zeros(0, np.float32)
    while piece is not None and (piece := await queue.get()) is not None:
        pieces = []
        while piece is not None:
            pieces.append(piece)
            if queue.empty():
                break
            piece = queue.get_nowait()
        await _send(websocket, channel, runner.push(np.concatenate(pieces)))
    await _send(websocket, channel, runner.end())


async def _send(websocket: ServerConnection, channel: int, events: list[dict[str, Any]]) -> None:
    for event in events:
        await websocket.send(json.dumps({**event, "channel": channel}))
        await asyncio.sleep(0)
