"""The opponent: a streaming server as a competent person would write it in an afternoon.

    python bench/load/plain_server.py [--port 8090]

Starlette on uvicorn with uvloop, NumPy, soxr and Silero in onnxruntime, one thread, the channels of a stream in one
call; the model off the loop. It speaks the protocol far enough for `voxgate load`: start, audio, stop; segmented and
simple; s16 and f32. The graph of the network is made from the same weights that Voxgate uses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soxr
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[2] / "tests")]

from nothing import count

from reference.silero_onnx import build
from voxgate.vad.weights import load_weights

RATE = 16_000
FRAME, CONTEXT = 512, 64
THRESHOLD, NEGATIVE_THRESHOLD = 0.5, 0.35
PREFIX = 600 * RATE // 1000
SILENCE = 600 * RATE // 1000
MIN_SPEECH = 90 * RATE // 1000
MIN_CHUNK = 100 * RATE // 1000

Samples = NDArray[np.float32]
Model = Callable[[Samples], dict[str, Any]]


def load_network() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(build(load_weights()), options, providers=["CPUExecutionProvider"])


class Vad:
    """The probabilities of speech of all channels of a stream."""

    def __init__(self, network: onnxruntime.InferenceSession, channels: int) -> None:
        self.network = network
        self.input = np.zeros((channels, CONTEXT + FRAME), np.float32)
        self.state = np.zeros((2, channels, 128), np.float32)

    def step(self, frame: Samples) -> Samples:
        self.input[:, :CONTEXT] = self.input[:, FRAME:]
        self.input[:, CONTEXT:] = frame
        output, self.state = self.network.run(None, {"input": self.input, "state": self.state})
        return output[:, 0]


class Utterances:
    """One channel: frames with their probabilities to utterances; keeps the audio that may still be wanted."""

    def __init__(self) -> None:
        self.frames: deque[Samples] = deque()
        self.first = 0  # position of the first kept sample
        self.position = 0
        self.speaking = False
        self.start = self.end = self.previous_end = 0
        self.speech = 0

    def push(self, frame: Samples, probability: float) -> list[tuple[str, int, int]]:
        self.frames.append(frame)
        begin, self.position = self.position, self.position + len(frame)
        if not self.speaking:
            if probability >= THRESHOLD:
                self.speech += len(frame)
                if self.speech == len(frame):
                    self.start = max(begin - PREFIX, self.previous_end, 0)
                if self.speech >= MIN_SPEECH:
                    self.speaking, self.end = True, self.position
                    return [("active", self.start, self.position)]
            elif probability < NEGATIVE_THRESHOLD:
                self.speech = 0
            while self.first + FRAME <= self.position - PREFIX - 4 * FRAME:
                self.first += len(self.frames.popleft())
        elif probability >= NEGATIVE_THRESHOLD:
            self.end = self.position
        elif self.position - self.end >= SILENCE:
            return self.close()
        return []

    def close(self) -> list[tuple[str, int, int]]:
        if not self.speaking:
            return []
        self.speaking, self.speech, self.previous_end = False, 0, self.end
        return [("inactive", self.start, self.end)]

    def audio(self, start: int, end: int) -> Samples:
        return np.concatenate(self.frames)[start - self.first : end - self.first]


class Stream:
    """One session on one socket."""

    def __init__(self, socket: WebSocket, format: dict[str, Any], route: str, app: App) -> None:
        self.socket, self.route, self.app = socket, route, app
        self.channels, rate = format["channels"], format["sample_rate"]
        self.is_float = format["is_float"]
        self.resampler = None
        if rate != RATE:
            self.resampler = soxr.ResampleStream(rate, RATE, self.channels, dtype="float32", quality="HQ")
        self.rest = b""
        self.audio = np.zeros((0, self.channels), np.float32)
        self.vad = Vad(app.network, self.channels) if route == "segmented" else None
        self.utterances = [Utterances() for _ in range(self.channels)]
        self.sent = 0
        self.calls: list[asyncio.Task[None]] = []

    async def feed(self, data: bytes) -> None:
        data = self.rest + data
        frame_bytes = self.channels * (4 if self.is_float else 2)
        whole = len(data) - len(data) % frame_bytes
        self.rest = data[whole:]
        if self.is_float:
            samples = np.frombuffer(data[:whole], "<f4")
        else:
            samples = np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32_768
        samples = samples.reshape(-1, self.channels)
        if self.resampler is not None:
            samples = self.resampler.resample_chunk(samples)
        self.audio = np.concatenate([self.audio, samples])
        await self.work()

    async def work(self) -> None:
        if self.vad is None:
            if len(self.audio) >= MIN_CHUNK:
                await self.group()
            return
        while len(self.audio) >= FRAME:
            frame, self.audio = self.audio[:FRAME].T, self.audio[FRAME:]
            probabilities = self.vad.step(frame)
            for channel, utterances in enumerate(self.utterances):
                await self.tell(channel, utterances.push(frame[channel], probabilities[channel]))

    async def group(self) -> None:
        audio, self.audio = self.audio, self.audio[:0]
        for channel in range(self.channels):
            await self.answer(channel, audio[:, channel].copy(), self.sent, self.sent + len(audio), {})
        self.sent += len(audio)

    async def tell(self, channel: int, events: list[tuple[str, int, int]]) -> None:
        for kind, start, end in events:
            time = start if kind == "active" else end
            await self.send({"type": kind, "time": round(time / RATE, 3), "channel": channel})
            if kind == "inactive":
                audio = self.utterances[channel].audio(start, end)
                await self.answer(channel, audio, start, end, {"is_final": True})

    async def answer(self, channel: int, audio: Samples, start: int, end: int, more: dict[str, Any]) -> None:
        before = self.calls[-1] if self.calls else None
        self.calls = [call for call in self.calls if not call.done()]
        self.calls.append(asyncio.create_task(self.infer(before, channel, audio, start, end, more)))

    async def infer(
        self,
        before: asyncio.Task[None] | None,
        channel: int,
        audio: Samples,
        start: int,
        end: int,
        more: dict[str, Any],
    ) -> None:
        output = await asyncio.get_running_loop().run_in_executor(None, self.app.model, audio)
        if before is not None:
            await before  # answers in order
        times = {"start_time": round(start / RATE, 3), "end_time": round(end / RATE, 3)}
        await self.send({"type": "segment", **times, **more, **output, "channel": channel})

    async def send(self, event: dict[str, Any]) -> None:
        await self.socket.send_text(json.dumps(event))

    async def finish(self) -> None:
        if self.resampler is not None:
            tail = self.resampler.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)
            self.audio = np.concatenate([self.audio, tail])
            await self.work()
        if self.vad is None:
            if len(self.audio):
                await self.group()
        else:
            for channel, utterances in enumerate(self.utterances):
                await self.tell(channel, utterances.close())
        for call in self.calls:
            await call


class App:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.network = load_network()

    async def __call__(self, socket: WebSocket) -> None:
        route = socket.url.path.rpartition("/")[2]
        await socket.accept()
        stream: Stream | None = None
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                data = message.get("bytes")
                if data is not None:
                    assert stream is not None
                    await stream.feed(data)
                    continue
                request = json.loads(message["text"])
                if request["request"] == "start":
                    stream = Stream(socket, request["format"], route, self)
                elif request["request"] == "stop":
                    if stream is not None:
                        await stream.finish()
                    if request.get("disconnect"):
                        await socket.close(1000)
                        return
        except WebSocketDisconnect:
            return


def create_app() -> Starlette:
    app = App(count)
    return Starlette(routes=[WebSocketRoute(f"/api/v1/{route}", app.__call__) for route in ("segmented", "simple")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8090)
    args = parser.parse_args()
    uvicorn.run(
        create_app(),
        port=args.port,
        ws="websockets-sansio",  # the faster one
        ws_per_message_deflate=False,
        log_level="warning",
        backlog=2048,
    )


if __name__ == "__main__":
    main()
