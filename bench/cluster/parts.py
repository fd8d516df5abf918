"""The CPU time of a server with its model on Ray, from /proc: the server itself, its driver process, the replicas."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["PARTS", "cpu_s", "replica_pids"]

PARTS = ("server", "driver: Python", "driver: Ray's threads", "replicas")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def replica_pids(app: str) -> list[int]:
    """The processes of the model's replicas on the cluster of this program."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            title = (process / "cmdline").read_bytes()
            is_ours = os.readlink(process / "ns/net") == os.readlink("/proc/self/ns/net")
        except OSError:
            continue
        if title.startswith(f"ray::ServeReplica:{app}:Model".encode()) and is_ours:
            found.append(int(process.name))
    return found


def cpu_s(driver: int, replicas: Sequence[int]) -> dict[str, float]:
    """The CPU time of each of `PARTS` so far. The server is this process."""
    of_driver = {"driver: Python": 0.0, "driver: Ray's threads": 0.0}
    for thread in Path(f"/proc/{driver}/task").iterdir():
        name, seconds = _stat(thread)
        # Threads that Python starts keep the name of the process; Ray's and gRPC's have names of their own.
        of_driver["driver: Python" if name == _stat(Path(f"/proc/{driver}"))[0] else "driver: Ray's threads"] += seconds
    return {
        "server": _stat(Path("/proc/self"))[1],
        **of_driver,
        "replicas": sum(_stat(Path(f"/proc/{pid}"))[1] for pid in replicas),
    }


def _stat(process: Path) -> tuple[str, float]:
    before, _, after = (process / "stat").read_text().rpartition(")")
    fields = after.split()
    return before.partition("(")[2], (int(fields[11]) + int(fields[12])) * _TICK_S
