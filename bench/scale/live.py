"""The same load on a real server: what its clients see, and what its metrics say.

The server and the clients are those of bench/overload.py: a model that sleeps, sessions that come at random, each with
half a second of speech every 1.5 s. So the numbers are the queue's, and not the machine's.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import overload


@dataclass(frozen=True)
class Seen:
    """During the time that counts."""

    p50_s: float
    p99_s: float
    refused: float
    """Share of the clients."""
    mean_batch: float
    busy: float
    """Share of their time in which the workers were in a call."""
    n_errors: int
    """Connections that failed, and finals that ended in an error."""


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    names = {
        "batches": r"^voxgate_batch_size_count(?:\{[^}]*\})? (\S+)",
        "items": r"^voxgate_batch_size_sum(?:\{[^}]*\})? (\S+)",
    }
    return {name: sum(map(float, re.findall(pattern, text, re.MULTILINE))) for name, pattern in names.items()}


def run(
    streams: float, seconds: float, queue_wait_s: float, call_s: tuple[float, float], threads: int, slower: float
) -> Seen:
    """`streams`: that would be there if nobody were refused. `call_s`: of the model, for a call and for an item.
    `slower`: all times of bench/overload.py, those of the model and the limit on the wait are so many times as long, so
    that delays of a busy machine count for less.
    """
    for name in ("SPEECH_S", "PERIOD_S", "CHUNK_S", "WARM_UP_S"):
        setattr(overload, name, slower * getattr(overload, name))
    overload.SESSION_S = (slower * overload.SESSION_S[0], slower * overload.SESSION_S[1])
    overload.SETTINGS = {
        **overload.SETTINGS,
        "model.delay": slower * call_s[0],
        "inference.threads": threads,
        "vad.silence_duration_ms": round(300 * slower),
        "vad.speculate_ms": round(200 * slower),
        "limits.queue_wait_s": slower * queue_wait_s,
        "metrics.max_age_s": 0,
    }
    if call_s[1]:
        overload.SETTINGS["model.item_delay"] = slower * call_s[1]
    looks: list[dict[str, float]] = []
    with overload.server() as port:

        def look() -> None:
            looks.append(scrape(port))

        timers = [threading.Timer(at_s, look) for at_s in (overload.WARM_UP_S, overload.WARM_UP_S + seconds)]
        for timer in timers:
            timer.start()
        outcome = asyncio.run(
            overload.offer(f"ws://127.0.0.1:{port}/api/v1/segmented", streams / overload.CAPACITY, seconds)
        )
        for timer in timers:
            timer.join()
    before, after = looks
    n_calls, n_items = after["batches"] - before["batches"], after["items"] - before["items"]
    n_refused = len(outcome.refusals_s)
    return Seen(
        overload.quantile_ms(outcome.latencies_s, 0.5) / 1000,
        overload.quantile_ms(outcome.latencies_s, 0.99) / 1000,
        n_refused / max(1, n_refused + outcome.n_let_in),
        n_items / max(1, n_calls),
        slower * (n_calls * call_s[0] + n_items * call_s[1]) / (threads * seconds),
        outcome.n_errors,
    )
