"""What a server holds, and the wait for it to be back where it began."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import astuple, dataclass

from conftest import LiveServer
from voxgate.runtime import tasks

SETTLE_S = 30


@dataclass(frozen=True)
class Held:
    """By this process, which is server and client in one."""

    streams: int
    tasks: int
    threads: int
    descriptors: int
    connections: int
    """Sockets that the server has accepted."""
    failures: int
    """Tasks and threads that ended by an exception, ever."""

    def is_within(self, before: Held) -> bool:
        """No more of anything than before."""
        return all(now <= then for now, then in zip(astuple(self), astuple(before), strict=True))


def held(server: LiveServer) -> Held:
    counts = tasks.counts()
    return Held(
        streams=server.service.streams,
        tasks=sum(count.running for count in counts.values()),
        threads=threading.active_count(),
        descriptors=len(os.listdir("/proc/self/fd")),
        connections=len(server.server.server_state.connections),
        failures=sum(count.failed for count in counts.values()),
    )


def settle(server: LiveServer, before: Held) -> None:
    """Waits until everything is back; AssertionError says what is not."""
    end_s = time.monotonic() + SETTLE_S
    while not (now := held(server)).is_within(before):
        assert time.monotonic() < end_s, f"before {before}, left {now}"
        time.sleep(0.002)
