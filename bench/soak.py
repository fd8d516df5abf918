"""Streams that come and go on all routes, at live and at full speed, in any format, cut anywhere, with faults: real
servers, one whose model fails, crashes and hangs in worker processes, others with models of measurement on threads.

    python bench/soak.py --minutes 25

Memory, descriptors, threads and tasks of the servers are sampled; after the warm-up a line is laid through them, with
the 95 % interval of its slope, in which the samples' own correlation is accounted for (batch means). Exit code 1 when
memory grows by 1 MiB an hour or more and that is more than chance (the whole interval lies above 0), when a server that
is idle again has a stream, when it has more descriptors, threads or tasks than it ever had in the first half of the
time after the warm-up, or when an answer was missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import websockets

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from server_process import ServerProcess

from helpers.wire import FLUSH, KEEP_ALIVE, PAUSE, STOP, start

ALLOWED_MIB_PER_H = 1.0
SERVERS: dict[str, dict[str, Any]] = {
    "dummy in worker processes, failing, crashing, hanging": {
        "model": "dummy",
        "model.delay": 0.01,
        "model.constant_factor": 0.01,
        "model.jitter": 0.01,
        "model.failure_rate": 0.05,
        "model.panic_rate": 0.05,
        "model.crash_rate": 0.01,
        "model.hang_rate": 0.002,
        "model.warmup_penalty": 0.0,
        "inference.isolation": "process",
        "inference.processes": 2,
        "inference.deadline_s": 2,
        "limits.streams_per_address": 1000,
    },
    "features on threads": {"model": "features", "inference.threads": 2, "limits.streams_per_address": 1000},
    "pitch, stateful, on threads": {"model": "pitch", "inference.threads": 2, "limits.streams_per_address": 1000},
}
ROUTES = {0: ("segmented", "simple"), 1: ("segmented", "simple"), 2: ("stateful",)}
FORMATS = [
    (rate, channels, encoding) for rate in (8000, 16_000, 44_100) for channels in (1, 2) for encoding in ("s16", "f32")
]
TEXT = {"s16": "<i2", "f32": "<f4"}


def talk(seconds: int = 20) -> np.ndarray:
    """Somebody who speaks and pauses, at 16 kHz: the bundled recording, once round."""
    from voxgate.audio import read_audio
    from voxgate.speech import path

    planes, rate = read_audio(path("demo"))
    return planes[0, : seconds * rate]


TALK = talk()


def recording(rate: int, channels: int, encoding: str) -> bytes:
    from voxgate.audio import resample

    plane = resample(TALK, 16_000, rate)
    planes = np.clip(np.stack([plane, 0.5 * plane[::-1]])[:channels].T, -1, 1)
    return (planes * (32_767 if encoding == "s16" else 1)).astype(TEXT[encoding]).tobytes()


RECORDINGS = {audio_format: recording(*audio_format) for audio_format in FORMATS}


class Churn:
    """Clients of one server, one after the other in each of a few places."""

    def __init__(self, server: ServerProcess, routes: tuple[str, ...], seed: int) -> None:
        self._server, self._routes = server, routes
        self._rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    async def place(self, end_s: float) -> None:
        while time.monotonic() < end_s:
            try:
                await self.one(random.Random(self._rng.random()))
            except websockets.exceptions.InvalidStatus as refused:
                # All its workers are being replaced: the server says so, and when to come again.
                status = refused.response.status_code
                self.counts[f"refused with {status}"] += 1
                if status != 503:
                    self.problems.append(f"refused with {status}")
                await asyncio.sleep(1)
            except (OSError, websockets.exceptions.WebSocketException, TimeoutError) as error:
                self.problems.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def one(self, rng: random.Random) -> None:
        rate, channels, encoding = audio_format = rng.choice(FORMATS)
        data, frame_bytes = RECORDINGS[audio_format], channels * (2 if encoding == "s16" else 4)
        begin = rng.randrange(len(data))
        data = data[begin : begin + int(rng.uniform(0.2, 8) * rate) * frame_bytes]
        live, leaves = rng.random() < 0.7, rng.random() < 0.15
        open_socket = websockets.connect(
            self._server.url(rng.choice(self._routes)), compression=None, ping_interval=None, max_size=None
        )
        async with open_socket as socket:
            options = {"interim_results": rng.random() < 0.5, "notices": rng.random() < 0.5}
            await socket.send(json.dumps(start(rate, channels, encoding, **options)))
            hearing = asyncio.ensure_future(self._hear(socket))
            offset, began_s = 0, time.monotonic()
            until = rng.randrange(len(data) + 1) if leaves else len(data)
            while offset < until:
                size = rng.randrange(1, 2000 if live else 60_000)
                await socket.send(data[offset : min(offset + size, until)])
                offset += size
                if rng.random() < 0.02:
                    await socket.send(json.dumps(rng.choice([FLUSH, KEEP_ALIVE, PAUSE])))
                ahead_s = offset / frame_bytes / rate - (time.monotonic() - began_s)
                if live and ahead_s > 0:
                    await asyncio.sleep(ahead_s)
            self.counts["audio_s"] += round(until / frame_bytes / rate)
            if leaves:
                hearing.cancel()
                socket.transport.abort()
                self.counts["left abruptly"] += 1
                return
            await socket.send(json.dumps(STOP))
            code = await asyncio.wait_for(hearing, 60)
            self.counts["streams"] += 1
            if code != 1000:
                self.problems.append(f"closed with {code}")

    async def _hear(self, socket: Any) -> int | None:
        n_active = n_answers = 0
        async for message in socket:
            event = json.loads(message)
            self.counts[event["type"]] += 1
            n_active += event["type"] == "active"
            n_answers += event["type"] == "error" or event.get("is_final") is True
        if socket.close_code == 1000 and n_answers < n_active:
            self.problems.append(f"{n_active} utterances, {n_answers} answers")
        return socket.close_code


def slope_per_h(times_s: list[float], values: list[float], n_batches: int = 10) -> tuple[float, float]:
    """Of a line through the samples, per hour, and half its 95 % interval. The samples are averaged in batches, whose
    means are nearly independent of each other: neighbouring samples are not.
    """
    batches = np.array_split(np.stack([times_s, values]), min(n_batches, len(times_s) // 2), axis=1)
    time_h, mean = np.array([batch.mean(axis=1) for batch in batches]).T
    time_h = (time_h - time_h.mean()) / 3600
    slope = (time_h @ mean) / (time_h @ time_h)
    rest = mean - mean.mean() - slope * time_h
    error = np.sqrt(rest @ rest / (len(mean) - 2) / (time_h @ time_h))
    student_t = {8: 2.306, 7: 2.365, 6: 2.447, 5: 2.571, 4: 2.776, 3: 3.182, 2: 4.303, 1: 12.706}
    return float(slope), float(student_t[len(mean) - 2] * error)


async def soak(servers: dict[str, ServerProcess], arguments: argparse.Namespace) -> dict[str, Any]:
    began_s = time.monotonic()
    end_s = began_s + arguments.minutes * 60
    churns = {name: Churn(server, ROUTES[k], k) for k, (name, server) in enumerate(servers.items())}
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    places = [asyncio.ensure_future(churn.place(end_s)) for churn in churns.values() for _ in range(arguments.streams)]
    while time.monotonic() < end_s:
        await asyncio.sleep(min(arguments.every_s, max(0.1, end_s - time.monotonic())))
        for name, server in servers.items():
            held = await asyncio.get_running_loop().run_in_executor(None, server.held)
            samples[name].append({"time_s": time.monotonic() - began_s, **held})
    await asyncio.gather(*places)
    await asyncio.sleep(5)
    last = {name: server.held() for name, server in servers.items()}
    return {"churns": churns, "samples": samples, "last": last}


def report(
    name: str, churn: Churn, samples: list[dict[str, float]], last: dict[str, int], warm_up_s: float
) -> dict[str, Any]:
    warm = [sample for sample in samples if sample["time_s"] >= warm_up_s]
    times = [sample["time_s"] for sample in warm]
    slope, half = slope_per_h(times, [sample["rss_bytes"] / 2**20 for sample in warm])
    print(f"\n**{name}**: {churn.counts['streams']} streams, {churn.counts['left abruptly']} left abruptly, ", end="")
    print(f"{churn.counts['audio_s'] / 3600:.1f} h of audio, {churn.counts['error']} errors answered\n")
    print("| | first | after warm-up | at the end | idle again |\n|---|---|---|---|---|")
    for key in ("rss_bytes", "descriptors", "threads", "tasks", "streams"):
        shown = [samples[0][key], warm[0][key], samples[-1][key], last[key]]
        cells = [f"{value / 2**20:.1f} MiB" if key == "rss_bytes" else f"{value:.0f}" for value in shown]
        print(f"| {key.removesuffix('_bytes')} | {' | '.join(cells)} |")
    print(f"\nslope of memory over {(times[-1] - times[0]) / 60:.0f} min: {slope:+.2f} ± {half:.2f} MiB/h")
    for problem, times_seen in Counter(churn.problems).most_common(5):
        print(f"PROBLEM, {times_seen} times: {problem}")
    first_half = warm[: max(1, len(warm) // 2)]  # what leaks has doubled since; a thread that begins late has not
    leaks = [key for key in ("descriptors", "threads", "tasks") if last[key] > max(s[key] for s in first_half)]
    if last["streams"] > 0:
        leaks.append("streams")
    if leaks:
        print(f"PROBLEM: more {', '.join(leaks)} than before, though it is idle")
    grows = slope >= ALLOWED_MIB_PER_H and slope - half > 0
    good = not (grows or leaks or churn.problems)
    result = {"name": name, "good": good, "slope_mib_per_h": slope, "half_interval": half, "problems": churn.problems}
    return result | {"counts": churn.counts, "samples": samples, "idle_again": last}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--warm-up", type=float, default=0.2, help="share of the time that is not looked at")
    parser.add_argument("--streams", type=int, default=5, help="at once, of each server")
    parser.add_argument("--every-s", type=float, default=5.0, help="between two samples")
    parser.add_argument("--json", type=Path, default=ROOT / "build/soak.json")
    arguments = parser.parse_args()
    arguments.json.parent.mkdir(exist_ok=True)
    servers: dict[str, ServerProcess] = {}
    try:
        for number, (name, settings) in enumerate(SERVERS.items()):
            servers[name] = ServerProcess(settings, arguments.json.with_suffix(f".{number}.log"))
        outcome = asyncio.run(soak(servers, arguments))
    finally:
        for server in servers.values():
            server.__exit__()
    warm_up_s = arguments.warm_up * arguments.minutes * 60
    results = [
        report(name, outcome["churns"][name], outcome["samples"][name], outcome["last"][name], warm_up_s)
        for name in servers
    ]
    arguments.json.write_text(json.dumps(results, indent=1))
    return 0 if all(result["good"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
