"""Streams that come and go on all routes, at live and at full speed, in any format, cut anywhere, with faults: real
servers, one whose model fails, crashes and hangs in worker processes, others with models of measurement on threads.

    python bench/soak.py --minutes 25
    python bench/soak.py --minutes 5 --leak-bytes 200      must exit with 1: each call of a model keeps 200 bytes

First some thousand streams warm the servers up. Then the time is cut into rounds: at the end of each, no stream is
open, and every server says what it holds (soak_server.py). A line is laid through these numbers over the streams served
so far. Its slope is what a stream leaves behind, given with its 95 % interval (of batch means, because neighbouring
rounds resemble each other).

Exit code 1: memory grows, which means that the slope is above what is allowed and that its whole interval is above 0;
or a server that is idle has more streams, descriptors, threads or tasks than ever in the first half of the rounds; or
an answer was missing; or a server logged an error that its model did not cause. Exit code 3: nothing of this, but the
interval reaches beyond what is allowed, so that a leak is not ruled out: run longer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import websockets

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from server_process import ServerProcess
from slopes import slope, verdict

from helpers.wire import FLUSH, KEEP_ALIVE, PAUSE, STOP, start

WARM_UP_ROUNDS = 2
LONGEST_S = 8.0  # a stream, live
WARM_UP_LONGEST_S = 1.0
IDLE_S = 10.0  # for a server to become idle
# What a stream may leave behind. The streams of an hour of this soak are some thousands.
ALLOWED = {"in_use_bytes": 100.0, "python_blocks": 0.7, "rss_bytes": 400.0}
COUNTED = ("descriptors", "threads", "tasks", "streams")


class Kind(NamedTuple):
    """A server, and what its clients do."""

    settings: dict[str, Any]
    routes: tuple[str, ...]
    fails: bool = False
    """Its model raises, and so there are errors in the log."""


SERVERS = {
    "dummy in worker processes, failing, crashing, hanging": Kind(
        {
            "model": "dummy",
            "model.delay": 0.01,
            "model.constant_factor": 0.01,
            "model.jitter": 0.01,
            "model.failure_rate": 0.05,
            "model.panic_rate": 0.05,
            "model.crash_rate": 0.004,
            "model.hang_rate": 0.001,
            "model.warmup_penalty": 0.0,
            "inference.engine": "process",
            "inference.processes": 2,
            "inference.deadline_s": 2,
            "inference.restart_backoff_s": 0.1,
        },
        ("segmented", "simple"),
        fails=True,
    ),
    "features on threads": Kind({"model": "soak_models:Features", "inference.threads": 2}, ("segmented", "simple")),
    "pitch, stateful, on threads": Kind({"model": "soak_models:Pitch", "inference.threads": 2}, ("stateful",)),
}
FORMATS = [
    (rate, channels, encoding) for rate in (8000, 16_000, 44_100) for channels in (1, 2) for encoding in ("s16", "f32")
]
TEXT = {"s16": "<i2", "f32": "<f4"}


def talk(seconds: int = 20) -> np.ndarray:
    """Somebody who speaks and pauses, at 16 kHz: the bundled recording, once round."""
    from voxgate.audio.files.read import read_audio
    from voxgate.recordings import path

    planes, rate = read_audio(path("demo"))
    return planes[0, : seconds * rate]


TALK = talk()


def recording(rate: int, channels: int, encoding: str) -> bytes:
    from voxgate.audio.soxr import resample

    plane = resample(TALK, 16_000, rate)
    planes = np.clip(np.stack([plane, 0.5 * plane[::-1]])[:channels].T, -1, 1)
    return (planes * (32_767 if encoding == "s16" else 1)).astype(TEXT[encoding]).tobytes()


RECORDINGS = {audio_format: recording(*audio_format) for audio_format in FORMATS}


class SoakedServer(ServerProcess):
    """Says what it holds, from the outside and from the inside."""

    def __init__(self, kind: Kind, log: Path, probe: Path, leak_bytes: int) -> None:
        self._probe, self._log_path, self._fails = probe, log, kind.fails
        probe.unlink(missing_ok=True)
        settings = {**kind.settings, "limits.streams_per_address": 1000}
        if leak_bytes and ":" in kind.settings["model"]:
            settings["model.leak_bytes"] = leak_bytes
        program = (str(ROOT / "bench/soak_server.py"), str(probe))
        super().__init__(settings, log, program=program)
        self._idle = self.held()

    def held(self) -> dict[str, int]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._probe))
            with connection.makefile() as answer:
                inside = json.loads(answer.readline())
        return super().held() | inside

    def held_when_idle(self) -> dict[str, int]:
        """Waits until nothing is left of the last streams, but no longer than `IDLE_S`."""
        end_s = time.monotonic() + IDLE_S
        while True:
            held = self.held()
            if all(held[key] <= self._idle[key] for key in COUNTED) or time.monotonic() > end_s:
                return self.held()  # the garbage of the last ones was collected by the one before
            time.sleep(0.2)

    def log_errors(self) -> list[str]:
        """Messages of the errors that it logged and should not have."""
        if self._fails:
            return []
        lines = map(json.loads, filter(None, self._log_path.read_text().splitlines()))
        return [f"logged: {line['message']}" for line in lines if line["level"] in ("error", "critical")]


class Churn:
    """Clients of one server, one after the other in each of a few places."""

    def __init__(self, server: ServerProcess, routes: tuple[str, ...], seed: int) -> None:
        self._server, self._routes = server, routes
        self._rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    @property
    def n_streams(self) -> int:
        return self.counts["streams"] + self.counts["left abruptly"]

    async def warm_up(self, n_streams: int, n_places: int) -> None:
        async def place(n: int) -> None:
            for _ in range(n):
                await self._try(live=False, longest_s=WARM_UP_LONGEST_S)

        await asyncio.gather(*(place(n_streams // n_places) for _ in range(n_places)))

    async def place(self, live: bool, end_s: float) -> None:
        """Begins streams until `end_s`, on the monotonic clock."""
        while time.monotonic() < end_s:
            await self._try(live, LONGEST_S)

    async def _try(self, live: bool, longest_s: float) -> None:
        try:
            await self.one(random.Random(self._rng.random()), live, longest_s)
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

    async def one(self, rng: random.Random, live: bool, longest_s: float) -> None:
        rate, channels, encoding = audio_format = rng.choice(FORMATS)
        data, frame_bytes = RECORDINGS[audio_format], channels * (2 if encoding == "s16" else 4)
        begin = rng.randrange(len(data))
        data = data[begin : begin + int(rng.uniform(0.2, longest_s) * rate) * frame_bytes]
        leaves = rng.random() < 0.15
        open_socket = websockets.connect(
            self._server.url(rng.choice(self._routes)), compression=None, ping_interval=None, max_size=None
        )
        async with open_socket as client:
            options = {"interim_results": rng.random() < 0.5, "notices": rng.random() < 0.5}
            await client.send(json.dumps(start(rate, channels, encoding, **options)))
            hearing = asyncio.ensure_future(self._hear(client))
            offset, began_s = 0, time.monotonic()
            until = rng.randrange(len(data) + 1) if leaves else len(data)
            while offset < until:
                size = rng.randrange(1, 2000 if live else 60_000)
                await client.send(data[offset : min(offset + size, until)])
                offset += size
                if rng.random() < 0.02:
                    await client.send(json.dumps(rng.choice([FLUSH, KEEP_ALIVE, PAUSE])))
                ahead_s = offset / frame_bytes / rate - (time.monotonic() - began_s)
                if live and ahead_s > 0:
                    await asyncio.sleep(ahead_s)
            self.counts["audio_s"] += round(until / frame_bytes / rate)
            if leaves:
                hearing.cancel()
                client.transport.abort()
                self.counts["left abruptly"] += 1
                return
            await client.send(json.dumps(STOP))
            code = await asyncio.wait_for(hearing, 60)
            self.counts["streams"] += 1
            if code != 1000:
                self.problems.append(f"closed with {code}")

    async def _hear(self, client: Any) -> int | None:
        n_active = n_answers = 0
        async for message in client:
            event = json.loads(message)
            self.counts[event["type"]] += 1
            n_active += event["type"] == "active"
            n_answers += event["type"] == "error" or event.get("is_final") is True
        if client.close_code == 1000 and n_answers < n_active:
            self.problems.append(f"{n_active} utterances, {n_answers} answers")
        return client.close_code


async def soak(servers: dict[str, SoakedServer], arguments: argparse.Namespace) -> dict[str, Any]:
    churns = {
        name: Churn(server, SERVERS[name].routes, number) for number, (name, server) in enumerate(servers.items())
    }
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    await asyncio.gather(*(churn.warm_up(arguments.warm_up, arguments.streams) for churn in churns.values()))
    n_rounds = max(10, min(22, int(arguments.minutes * 60 / 20)))
    round_s, began_s = arguments.minutes * 60 / n_rounds, time.monotonic()
    for number in range(1, n_rounds + 1):
        # The last streams that begin should end within the round.
        end_s = max(began_s + number * round_s - LONGEST_S, time.monotonic() + round_s / 4)
        places = [(churn, number % 2 == 0) for churn in churns.values() for number in range(arguments.streams)]
        await asyncio.gather(*(churn.place(live, end_s) for churn, live in places))
        for name, server in servers.items():
            held = await asyncio.get_running_loop().run_in_executor(None, server.held_when_idle)
            samples[name].append({"time_s": time.monotonic() - began_s, "served": churns[name].n_streams, **held})
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {"churns": churns, "samples": samples}


def shown(key: str, value: float) -> str:
    return f"{value / 2**20:.2f} MiB" if key.endswith("bytes") else f"{value:.0f}"


def report(name: str, churn: Churn, samples: list[dict[str, float]]) -> dict[str, Any]:
    warm = samples[WARM_UP_ROUNDS:]
    served = [sample["served"] for sample in warm]
    print(f"\n**{name}**: {churn.counts['streams']} streams, {churn.counts['left abruptly']} left abruptly, ", end="")
    print(f"{churn.counts['audio_s'] / 3600:.1f} h of audio, {churn.counts['error']} errors answered\n")
    marks = f"at first | after {served[0]:.0f} streams | after {served[-1]:.0f}"
    print(f"| when idle | {marks} | a stream leaves | allowed | |")
    print("|---|---|---|---|---|---|---|")
    result: dict[str, Any] = {"name": name, "samples": samples, "counts": churn.counts, "slopes": {}, "verdicts": {}}
    for key in (*ALLOWED, *COUNTED):
        cells = [shown(key, sample[key]) for sample in (samples[0], warm[0], warm[-1])]
        if key in ALLOWED:
            rise, half = slope(served, [sample[key] for sample in warm])
            result["slopes"][key] = rise, half
            result["verdicts"][key] = verdict(rise, half, ALLOWED[key])
            digits = 0 if key.endswith("bytes") else 2
            cells += [f"{rise:+.{digits}f} ± {half:.{digits}f}", f"{ALLOWED[key]:g}", result["verdicts"][key]]
        else:
            cells += ["", "", ""]
        print(f"| {key.replace('_', ' ').removesuffix(' bytes')} | {' | '.join(cells)} |")
    first_half = warm[: max(1, len(warm) // 2)]  # what leaks has doubled since; a thread that begins late has not
    leaks = [
        key for key in COUNTED if min(sample[key] for sample in warm[-3:]) > max(sample[key] for sample in first_half)
    ]
    if warm[-1]["streams"] > 0 or leaks:
        churn.problems.append(f"more {', '.join(leaks or ['streams'])} than before, though it is idle")
    for problem, times_seen in Counter(churn.problems).most_common(5):
        print(f"PROBLEM, {times_seen} times: {problem}")
    return result | {"problems": churn.problems}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--streams", type=int, default=10, help="at once, of each server")
    parser.add_argument("--warm-up", type=int, default=2000, help="streams of each server before the first round")
    parser.add_argument("--servers", nargs="*", choices=[name.split()[0].strip(",") for name in SERVERS])
    parser.add_argument("--leak-bytes", type=int, default=0, help="what models on threads keep of each call or state")
    parser.add_argument("--json", type=Path, default=ROOT / "build/soak.json")
    arguments = parser.parse_args()
    arguments.json.parent.mkdir(exist_ok=True)
    wanted = {
        name: kind
        for name, kind in SERVERS.items()
        if arguments.servers is None or name.split()[0].strip(",") in arguments.servers
    }
    servers: dict[str, SoakedServer] = {}
    with tempfile.TemporaryDirectory() as directory:
        try:
            for number, (name, kind) in enumerate(wanted.items()):
                log = arguments.json.with_suffix(f".{number}.log")
                servers[name] = SoakedServer(kind, log, Path(directory) / str(number), arguments.leak_bytes)
            outcome = asyncio.run(soak(servers, arguments))
            for name, server in servers.items():
                outcome["churns"][name].problems += server.log_errors()
        finally:
            for server in servers.values():
                server.__exit__()
    results = [report(name, outcome["churns"][name], outcome["samples"][name]) for name in servers]
    arguments.json.write_text(json.dumps(results, indent=1))
    verdicts = [each for result in results for each in result["verdicts"].values()]
    if "grows" in verdicts or any(result["problems"] for result in results):
        return 1
    return 3 if "open" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
