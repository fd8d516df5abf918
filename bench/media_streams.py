"""100 live streams of WebM/Opus: ours, a PyAV thread each, an ffmpeg process each; also beside a model that holds the
GIL: python bench/media_streams.py [--streams 100] [--seconds 12] [--ways ours ...]

Every stream is the bundled speech as a browser records it, in chunks of --chunk-ms, sent when they are due, the streams
spread evenly over the time of a chunk. Measured per way, in a process of its own: CPU of what decodes per second of
audio; how long after a chunk is due its PCM is there (p50, p99; with PyAV's threads and ffmpeg without its last packet,
which they hold back until the next chunk); memory per stream.

ours, libopus   our demuxer, libopus called with the GIL held, to 16 kHz
ours, PyAV      our demuxer, PyAV's CodecContext, to 48 kHz
threads         av.open on a blocking pipe, one thread a stream
ffmpeg          one ffmpeg process a stream, read by one thread

--gil-ms N: a thread beside them holds the GIL for N ms again and again, as a model does that never releases it, with
pauses as long.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import queue
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from voxgate.audio.containers.encoding import encode_live
from voxgate.audio.files.read import read_audio
from voxgate.recordings import path

PACKET_S = 0.0201
WAYS = ("ours, libopus", "ours, PyAV", "threads", "ffmpeg")


def rss_bytes(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def proportional_bytes(pid: int) -> int:
    """Memory that is shared between processes counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def hold_gil(ms: float, stop: threading.Event) -> None:
    usleep = ctypes.PyDLL(None).usleep  # PyDLL: with the GIL
    while not stop.is_set():
        usleep(int(ms * 1000))
        time.sleep(ms / 1000)


class Ours:
    def __init__(self, is_libopus: bool) -> None:
        from voxgate.audio.containers import opus
        from voxgate.audio.containers.webm import WebmContainer

        if not is_libopus:
            opus.load_libopus = lambda: None  # type: ignore[assignment]
        self.container = WebmContainer(16_000)
        self.done_s: list[float] = []

    def send(self, chunk: bytes) -> None:
        for _ in self.container.push(chunk):
            pass
        self.done_s.append(time.perf_counter())

    def close(self) -> None:
        pass


class Thread:
    """PyAV reads from a pipe that blocks."""

    def __init__(self) -> None:
        self.pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.rest = b""
        self.is_over = False
        self.frames: list[tuple[float, float]] = []  # (time of arrival, end of the audio in s)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def read(self, n_bytes: int) -> bytes:
        if not self.rest and not self.is_over:
            self.rest = self.pieces.get()
            self.is_over = not self.rest
        data, self.rest = self.rest[:n_bytes], self.rest[n_bytes:]
        return data

    def run(self) -> None:
        import av

        with av.open(self, format="webm", options={"probesize": "32", "fflags": "nobuffer"}) as container:  # type: ignore[call-overload]
            n_samples = 0
            for frame in container.decode(audio=0):
                frame.to_ndarray()
                n_samples += frame.samples
                self.frames.append((time.perf_counter(), n_samples / frame.sample_rate))

    def send(self, chunk: bytes) -> None:
        if chunk:
            self.pieces.put(chunk)

    def close(self) -> None:
        self.pieces.put(b"")
        self.thread.join()


class Ffmpeg:
    def __init__(self) -> None:
        options = ["-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0", "-threads", "1", "-i", "-"]
        command = ["ffmpeg", "-v", "error", *options, "-f", "s16le", "-ar", "16000", "-flush_packets", "1", "-"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.frames: list[tuple[float, float]] = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        n_bytes, out = 0, self.process.stdout
        assert out is not None
        while data := out.read(65_536):
            n_bytes += len(data)
            self.frames.append((time.perf_counter(), n_bytes / 32_000))

    def send(self, chunk: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(chunk)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.thread.join()
        self.process.wait()


def audio_ends_s(chunks: list[bytes]) -> list[float]:
    """How much audio has arrived with each chunk."""
    from voxgate.audio.containers.webm import WebmContainer

    container, n_bytes, ends_s = WebmContainer(16_000), 0, []
    for chunk in chunks:
        n_bytes += sum(map(len, container.push(chunk)))
        ends_s.append(n_bytes / 64_000)
    return ends_s


def make(way: str) -> Any:
    if way.startswith("ours"):
        return Ours("libopus" in way)
    return Thread() if way == "threads" else Ffmpeg()


def measure(way: str, n_streams: int, seconds: float, chunk_ms: int, gil_ms: float) -> dict[str, Any]:
    samples, rate = read_audio(path("demo"))
    chunks = encode_live(samples[:, : round(seconds * rate)], rate, "webm", chunk_ms)
    warm = make(way)
    for chunk in chunks[:3]:
        warm.send(chunk)
    warm.close()
    ends_s = audio_ends_s(chunks)
    before_bytes, cpu = rss_bytes(), resource.getrusage
    streams = [make(way) for _ in range(n_streams)]
    stop = threading.Event()
    if gil_ms:
        threading.Thread(target=hold_gil, args=(gil_ms, stop), daemon=True).start()
    children_s = sum(cpu(resource.RUSAGE_CHILDREN)[:2])
    begin_cpu_s, begin_s = sum(cpu(resource.RUSAGE_SELF)[:2]), time.perf_counter() + 0.2
    sent: list[list[float]] = [[] for _ in streams]
    for index, chunk in enumerate(chunks):
        for number, stream in enumerate(streams):
            due_s = begin_s + (index + number / n_streams) * chunk_ms / 1000
            time.sleep(max(0.0, due_s - time.perf_counter()))
            sent[number].append(due_s)
            stream.send(chunk)
        if index == len(chunks) - 2:
            memory = rss_bytes() - before_bytes
            if way == "ffmpeg":
                memory = sum(proportional_bytes(stream.process.pid) for stream in streams)
    for stream in streams:
        stream.close()
    stop.set()
    cpu_s = sum(cpu(resource.RUSAGE_SELF)[:2]) - begin_cpu_s
    cpu_s += sum(cpu(resource.RUSAGE_CHILDREN)[:2]) - children_s
    delays: list[float] = []
    for times, stream in zip(sent, streams, strict=True):
        if way.startswith("ours"):
            delays += [done - due for done, due in zip(stream.done_s, times, strict=True)]
            continue
        ends = np.array([end for _, end in stream.frames])
        for due_s, end_s in zip(times[:-1], ends_s, strict=False):
            at = int(np.searchsorted(ends, end_s - PACKET_S))
            if at < len(ends):
                delays.append(stream.frames[at][0] - due_s)
    audio_s = n_streams * seconds
    return {
        "way": way,
        "gil_ms": gil_ms,
        "cpu_ms": 1000 * cpu_s / audio_s,
        "p50_ms": 1000 * float(np.percentile(delays, 50)),
        "p99_ms": 1000 * float(np.percentile(delays, 99)),
        "kib": memory / n_streams / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--chunk-ms", type=int, default=300)
    parser.add_argument("--gil-ms", type=float, nargs="*", default=[0, 20])
    parser.add_argument("--ways", nargs="*", default=WAYS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        gil_ms = arguments.gil_ms[0]
        print(json.dumps(measure(arguments.one, arguments.streams, arguments.seconds, arguments.chunk_ms, gil_ms)))
        return
    print(f"{arguments.streams} streams, {arguments.seconds:g} s, chunks of {arguments.chunk_ms} ms")
    print("| way | GIL held | CPU ms per s of audio | p50 ms | p99 ms | KiB per stream |\n|---|---|---|---|---|---|")
    for gil_ms in arguments.gil_ms:
        for way in arguments.ways:
            command = [sys.executable, __file__, "--one", way, "--gil-ms", str(gil_ms)]
            command += ["--streams", str(arguments.streams), "--seconds", str(arguments.seconds)]
            command += ["--chunk-ms", str(arguments.chunk_ms)]
            row = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            held = f"{gil_ms:g} of {2 * gil_ms:g} ms" if gil_ms else "never"
            delays = f"{row['p50_ms']:.1f} | {row['p99_ms']:.1f}"
            print(f"| {way} | {held} | {row['cpu_ms']:.2f} | {delays} | {row['kib']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
