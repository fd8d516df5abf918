"""Many streams at live pace from one process, to one server or several, and the finals that come back."""

from __future__ import annotations

import asyncio
import gc
import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from turn_material import RATE_HZ, Script, as_pcm
from turn_score import Final

from voxgate.load.frames import BINARY, TEXT, client_frame
from voxgate.load.websocket import Target, WebSocket
from voxgate.protocol.events import Error, Event, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.json_codec import encode_request
from voxgate.protocol.requests import Start, Stop

__all__ = ["Part", "Played", "frames_of", "play"]

CHUNK_MS = 20
END_S = 60.0
"""The longest wait for the last results."""
FORMAT = AudioFormat(1, RATE_HZ, 16, False)
STOP_FRAME = client_frame(TEXT, encode_request(Stop(disconnect=True)).encode())


def frames_of(script: Script) -> tuple[bytes, ...]:
    """The script as websocket frames of CHUNK_MS."""
    pcm, size = as_pcm(script.samples), 2 * RATE_HZ * CHUNK_MS // 1000
    return tuple(client_frame(BINARY, pcm[start : start + size]) for start in range(0, len(pcm), size))


@dataclass
class Part:
    """One stream: what it plays, to whom, and after how many seconds it begins."""

    url: str
    script: Script
    frames: tuple[bytes, ...]
    begins_s: float
    interim_results: bool = False


@dataclass
class Played:
    """What became of a part."""

    part: Part
    finals: list[Final] = field(default_factory=list)
    n_errors: int = 0
    failure: str | None = None


class _Stream(WebSocket):
    def __init__(self, target: Target, part: Part) -> None:
        super().__init__(target, time.perf_counter)
        self.played = Played(part)
        self.is_open, self.is_closed = asyncio.Event(), asyncio.Event()
        self.began_speaking_s = 0.0
        self.n_sent = 0

    def opened(self) -> None:
        start = Start(FORMAT, interim_results=self.played.part.interim_results)
        self.write(client_frame(TEXT, encode_request(start).encode()))
        self.is_open.set()

    def received(self, event: Event, now_s: float) -> None:
        if isinstance(event, Segment) and event.is_final is True:
            self.played.finals.append(Final(event.start_time, event.end_time, now_s - self.began_speaking_s))
        elif isinstance(event, Error):
            self.played.n_errors += 1

    def ended(self) -> None:
        if not self.has_ended_well:
            self.played.failure = self.failure or f"closed with {self.close_code}"
        self.is_open.set()
        self.is_closed.set()

    def send_next(self) -> float | None:
        """Sends the next message; when the one after it is due, None: never."""
        if self.is_over:
            return None
        frames = self.played.part.frames
        if self.n_sent == len(frames):
            self.write(STOP_FRAME)
            return None
        self.write(frames[self.n_sent])
        self.n_sent += 1
        return self.due_s()

    def due_s(self) -> float:
        """A message is sent when its last sample has been spoken."""
        return self.began_speaking_s + (self.n_sent + 1) * CHUNK_MS / 1000


async def play(parts: Sequence[Part], began: asyncio.Future[None]) -> tuple[list[Played], list[float]]:
    """Plays all parts, and returns what became of each, and how late each message was sent, in seconds. `began`: set
    when all are connected and the first one begins.
    """
    targets = {url: Target.of(url, "segmented", None) for url in {part.url for part in parts}}
    streams = [_Stream(targets[part.url], part) for part in parts]
    for begin in range(0, len(streams), 32):
        await asyncio.gather(*(stream.connect() for stream in streams[begin : begin + 32]))
    for stream in streams:
        await stream.is_open.wait()
    late_s: list[float] = []
    now_s = time.perf_counter() + 0.1
    due: list[tuple[float, int]] = []
    for number, stream in enumerate(streams):
        stream.began_speaking_s = now_s + stream.played.part.begins_s
        due.append((stream.due_s(), number))
    heapq.heapify(due)
    began.set_result(None)
    gc.collect()
    gc.disable()  # Its rounds would make messages late.
    try:
        while due:
            now_s = time.perf_counter()
            while due and due[0][0] <= now_s:
                due_s, number = due[0]
                late_s.append(now_s - due_s)
                next_s = streams[number].send_next()
                if next_s is None:
                    heapq.heappop(due)
                else:
                    heapq.heapreplace(due, (next_s, number))
            if due:
                await asyncio.sleep(max(0.0, due[0][0] - time.perf_counter()))
        for stream in streams:
            try:
                await asyncio.wait_for(stream.is_closed.wait(), END_S)
            except TimeoutError:
                stream.abort(f"not all results within {END_S:g} s")
    finally:
        gc.enable()
    return [stream.played for stream in streams], late_s
