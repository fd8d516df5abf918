"""Models that misbehave, behind a real server on a real socket: what the others notice of it.

    python bench/isolation.py [--segments 1000] [--streams 20] [--seconds 30] [--only chaos|gil]

1. chaos: the dummy model crashes in 5 % and hangs in 1 % of its calls. Streams speak an utterance a second each. After
   all segments: is the server up, has each of them a result or an error, is every error one that a crash or a hang
   explains, and is memory where it was?
2. gil: a model that holds the GIL while it computes transcribes (or, without pocketsphinx, burns) two live streams. How
   soon is /api/v1/health answered meanwhile, with the model in worker processes and, for comparison, on threads?

Prints Markdown tables; exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

import voxgate
from voxgate.client import stream
from voxgate.recordings import path

HERE = Path(__file__).parent
RATE = 16_000
CRASH_RATE, HANG_RATE = 0.05, 0.01
WORKERS, DEADLINE_S = 6, 3.0
UTTERANCE_S, PACE_S = 0.5, 1.0
HEALTH_INTERVAL_S = 0.01
HEALTH_P99_MS = 20.0


class Spin(voxgate.Model):
    """Pure Python at work for a tenth of the audio's length."""

    holds_gil = True

    def infer(self, audio: np.ndarray) -> Mapping[str, Any]:
        end_s = time.thread_time() + 0.1 * len(audio) / self.sample_rate
        while time.thread_time() < end_s:
            sum(range(100_000))
        return {"count": len(audio)}


def undeclared() -> voxgate.Model:
    """The model of the second part without saying that it holds the GIL: so it runs on threads."""
    if importlib.util.find_spec("pocketsphinx") is None:
        model: voxgate.Model = Spin()
    else:
        from voxgate.models.pocketsphinx import PocketSphinx

        model = PocketSphinx()
    model.holds_gil = False
    return model


class Server:
    """`voxgate serve` in a process of its own, with its log."""

    def __init__(self, model: str, **settings: Any) -> None:
        arguments = [f"--set={key.replace('__', '.')}={value}" for key, value in settings.items()]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- lives as long as the server
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voxgate", "serve", "--port=0", f"--model={model}", *arguments],
            stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=HERE,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "listening on http://" not in line:
            raise SystemExit(f"the server did not start:\n{self.log}")
        self.address = line.strip().rpartition("/")[2]

    def get(self, what: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        connection.request("GET", f"/api/v1/{what}")
        response = connection.getresponse()
        with contextlib.closing(connection):
            return response.status, json.load(response)

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    @property
    def rss_mib(self) -> float:
        return rss_mib(self.process.pid)

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def workers(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task").glob("*/children") for pid in children(pid)]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def children(file: Path) -> list[str]:
    return file.read_text().split()


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


# --- 1. chaos ---


def utterance() -> bytes:
    """A buzz of half a second between faint noise: one segment for the energy detector."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round((UTTERANCE_S + 0.6) * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12))
    audio = 1e-3 * rng.standard_normal(len(time_s)) + (time_s < UTTERANCE_S) * 0.2 * buzz
    return np.clip(audio * 32768, -32768, 32767).astype("<i2").tobytes()


START = {
    "request": "start",
    "format": {"channels": 1, "sample_rate": RATE, "bit_depth": 16, "is_float": False},
    "vad": {"silence_duration_ms": 200, "prefix_padding_ms": 100},
}


async def speak(address: str, n_utterances: int, delay_s: float) -> list[dict[str, Any]]:
    """One stream, an utterance every PACE_S; all its events."""
    audio, events = utterance(), []
    await asyncio.sleep(delay_s)
    async with connect(f"ws://{address}/api/v1/segmented", compression=None) as socket:

        async def listen() -> None:
            async for text in socket:
                events.append(json.loads(text))

        listening = asyncio.ensure_future(listen())
        await socket.send(json.dumps(START))
        due_s = asyncio.get_running_loop().time()
        for _ in range(n_utterances):
            await socket.send(audio)
            due_s += PACE_S
            await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
        await socket.send(json.dumps({"request": "stop", "disconnect": True}))
        await listening
    return events


async def speak_all(address: str, n_streams: int, n_utterances: int) -> list[list[dict[str, Any]]]:
    return await asyncio.gather(
        *[speak(address, n_utterances, PACE_S * index / n_streams) for index in range(n_streams)]
    )


def chaos(n_segments: int, n_streams: int) -> bool:
    server = Server(
        "dummy", model__delay=0.02, model__constant_factor=0, model__jitter=0, model__panic_rate=0,
        model__warmup_penalty=0, model__crash_rate=CRASH_RATE, model__hang_rate=HANG_RATE, vad__detector="energy",
        inference__engine="process", inference__processes=WORKERS, inference__deadline_s=DEADLINE_S,
    )  # fmt: skip
    asyncio.run(speak_all(server.address, n_streams, 2))  # What only the first streams pay.
    log_before, rss_before, files_before = server.log, server.rss_mib, server.files
    started_s = time.monotonic()
    streams = asyncio.run(speak_all(server.address, n_streams, n_segments // n_streams))
    elapsed_s = time.monotonic() - started_s
    log = server.log[len(log_before) :]
    n_results = sum(event["type"] == "segment" for events in streams for event in events)
    texts = collections.Counter(event["message"] for events in streams for event in events if event["type"] == "error")
    touched = sum(any(event["type"] == "error" for event in events) for events in streams)
    n_asked = n_streams * (n_segments // n_streams)
    n_late = sum(n for text, n in texts.items() if "no answer within" in text)
    n_lost = sum(texts.values()) - n_late
    n_crashes = log.count("exited with status 70 while it ran a call")
    n_kills = log.count("was killed because it ran a call")
    restarts = log.count("starting another in")
    health, ready = server.get("health")[0], server.get("ready")[0]
    rss_after, files_after = server.rss_mib, server.files
    workers = server.workers
    status = server.stop()
    orphans = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    rows = [
        ("segments asked", f"{n_asked} on {n_streams} streams, {elapsed_s:.0f} s", True),
        ("results + errors", f"{n_results} + {sum(texts.values())}", n_results + sum(texts.values()) == n_asked),
        ("calls that crashed their worker (the final is tried once more)", str(n_crashes), n_crashes > 0),
        ("calls that hung, and their worker was killed", str(n_kills), True),
        ("workers started again", str(restarts), True),
        (f"errors: no answer within {DEADLINE_S:g} s (one for each hang)", str(n_late), n_late <= n_kills),
        ("errors: crashed twice", str(n_lost), 2 * n_lost <= n_crashes),
        ("streams with no error at all", f"{n_streams - touched} of {n_streams}", touched <= n_late + n_lost),
        ("health, ready afterwards", f"{health}, {ready}", health == ready == 200),
        ("server's memory before, after", f"{rss_before:.1f}, {rss_after:.1f} MiB", rss_after < rss_before + 5),
        ("server's open files before, after", f"{files_before}, {files_after}", files_after <= files_before),
        ("exit code, workers left behind", f"{status}, {len(orphans)}", status == 0 and not orphans),
    ]
    return table(f"crash_rate {CRASH_RATE}, hang_rate {HANG_RATE}, {WORKERS} workers", rows)


# --- 2. the GIL ---


class Health(threading.Thread):
    """Asks /api/v1/health every 10 ms, on one connection, and notes how long each answer took."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._over = threading.Event()
        self.took_ms: list[float] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        with contextlib.closing(connection):
            while not self._over.wait(HEALTH_INTERVAL_S):
                before_s = time.perf_counter()
                connection.request("GET", "/api/v1/health")
                connection.getresponse().read()
                self.took_ms.append((time.perf_counter() - before_s) * 1000)

    def stop(self) -> list[float]:
        self._over.set()
        self.join()
        return sorted(self.took_ms)


async def transcribe(address: str, seconds: float) -> int:
    """A live stream of the bundled speech, again and again; how many results came."""
    n_results = 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        async for event in stream(path("demo"), addr=address, real_time=True, interim_results=True):
            n_results += event.type == "segment"
    return n_results


async def two_streams(address: str, seconds: float) -> int:
    return sum(await asyncio.gather(*[transcribe(address, seconds) for _ in range(2)]))


@contextlib.contextmanager
def watched(server: Server) -> Iterator[Health]:
    health = Health(server.address)
    health.start()
    yield health
    health.stop()


def gil(seconds: float) -> bool:
    name = "isolation:Spin" if importlib.util.find_spec("pocketsphinx") is None else "pocketsphinx"
    rows = []
    for where, spec in (("worker processes (by itself)", name), ("threads (undeclared)", "isolation:undeclared")):
        server = Server(spec)
        with watched(server) as health:
            n_results = asyncio.run(two_streams(server.address, seconds))
        took_ms = sorted(health.took_ms)
        p99_ms = took_ms[int(0.99 * len(took_ms))]
        isolated = spec == name
        complaint = any("held the GIL for" in line for line in server.log.splitlines())
        text = (
            f"{n_results} results; {len(took_ms)} answers: median {took_ms[len(took_ms) // 2]:.1f}, p99 {p99_ms:.1f},"
            f" longest {took_ms[-1]:.1f} ms; the watchdog {'complained' if complaint else 'was quiet'}"
        )
        rows.append((where, text, not isolated or (p99_ms <= HEALTH_P99_MS and not complaint and n_results > 0)))
        server.stop()
    return table(f"{name} on two live streams, /api/v1/health every 10 ms for {seconds:g} s", rows)


def table(title: str, rows: list[tuple[str, str, bool]]) -> bool:
    print(f"\n| {title} | | |\n|---|---|---|")
    for what, value, is_right in rows:
        print(f"| {what} | {value} | {'ok' if is_right else '**broken**'} |")
    sys.stdout.flush()
    return all(is_right for _, _, is_right in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", choices=("chaos", "gil"))
    arguments = parser.parse_args()
    right = True
    if arguments.only != "gil":
        right &= chaos(arguments.segments, arguments.streams)
    if arguments.only != "chaos":
        right &= gil(arguments.seconds)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
