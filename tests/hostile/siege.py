"""Bad connections of all kinds, many and in any order, the same ones for the same seed."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from typing import Any

import hostile.foreign
import hostile.grpc_kinds  # noqa: F401 - more kinds
from helpers.http2 import end_of
from helpers.raw import Raw
from helpers.wire import bursts, encode, start, story, stream
from hostile.kinds import KINDS, Kind

HEAVY_SHARE = 0.03
LEAVING = ("close", "reset", "half", "wait")
WELL_BEHAVED: list[Any] = [start(interim_results=False), encode(bursts((0.6, 1.2), (2.1, 2.7), length_s=3.5))]


def choose(rng: random.Random) -> Kind:
    heavy = rng.random() < HEAVY_SHARE
    return rng.choice([kind for kind in KINDS.values() if kind.heavy == heavy])


def connect(port: int, grpc_port: int, rng: random.Random) -> str:
    """One bad connection, from its beginning to its end; how it went."""
    kind = choose(rng)
    leaving = rng.choice(LEAVING)
    try:
        with Raw(grpc_port if kind.grpc else port, receive_buffer_bytes=rng.choice([None, 4096])) as raw:
            kind.attack(raw, rng)
            if leaving == "reset":
                raw.reset()
            elif leaving == "half":
                raw.socket.shutdown(socket.SHUT_WR)
                raw.socket.settimeout(0.05)
                raw.wait_for_end()
            elif leaving == "wait" and kind.grpc and kind.end is not None:
                end_of(raw)
            elif leaving == "wait" and kind.end is not None:
                raw.wait_for_end()
    except (OSError, AssertionError):
        return f"{kind.name}: let go early"  # refused, or thrown out in the middle of it: as good an end as any
    return kind.name


def besiege(port: int, grpc_port: int, n_connections: int, seed: int, n_threads: int = 4) -> Counter[str]:
    """That many bad connections, a few at a time; how many there were of each kind."""
    outcomes: Counter[str] = Counter()
    numbers = iter(range(n_connections))
    lock = threading.Lock()

    def attack() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            outcome = connect(port, grpc_port, random.Random(seed * 1_000_003 + number))
            with lock:
                outcomes[outcome] += 1

    threads = [threading.Thread(target=attack) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


class Neighbour:
    """A client that does everything right, again and again, beside all this."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.alone = self._stream()
        self.beside: list[list[dict[str, Any]]] = []
        self.failure: BaseException | None = None
        self._over = threading.Event()

    def __enter__(self) -> Neighbour:
        self._over.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._over.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _stream(self) -> list[dict[str, Any]]:
        return story(stream(self._url, *WELL_BEHAVED))

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self.beside.append(self._stream())
        except BaseException as error:
            self.failure = error
