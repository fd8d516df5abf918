"""A cluster that gives no answer any more, and closes no connection: what a server sees when the network is cut."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, put, until
from tools.ray_nodes import LocalCluster
from voxgate.inference.outcomes import WorkerDied

Begin = Callable[..., Edge]


@pytest.fixture
def nodes(models_are_importable: None) -> Iterator[LocalCluster]:
    with LocalCluster((1, 1)) as running:
        yield running


def of_the_cluster() -> list[int]:
    """Every process in this network namespace but the test, its parents and its children that are no nodes."""
    here = os.readlink("/proc/self/ns/net")
    ours, pid = set(), os.getpid()
    while pid > 1:
        ours.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) not in ours:
            with contextlib.suppress(OSError):
                is_driver = b"voxgate" in (process / "cmdline").read_bytes() or _is_driver(process)
                if os.readlink(process / "ns/net") == here and not is_driver:
                    found.append(int(process.name))
    return found


def _is_driver(process: Path) -> bool:
    """Driver processes are interpreters that read their program from `-c`, and are children of this one."""
    parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return parent == os.getpid() and b"-c" in (process / "cmdline").read_bytes().split(b"\0")


def test_a_cluster_without_answer(nodes: LocalCluster, tmp_path: Path, edge: Begin) -> None:
    put("Actor", tmp_path)
    server = edge(deadline_s=300.0, lost_after_s=5.0, start_timeout_s=20.0)
    running, before = server.job(does.WAIT), server.engine.driver_pid
    until(lambda: list(tmp_path.glob("waits-*")))
    stopped = of_the_cluster()
    assert before not in stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: not server.engine.ready)
        until(lambda: server.engine.driver_pid != before)
        late, interim = server.job(n_samples=3), server.job(n_samples=2, final=False)
        (tmp_path / "go").touch()
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert server.outcome(running)["count"] == 8
    assert running.attempts == 2
    assert server.outcome(late)["count"] == 3
    found = server.outcome(interim)  # If it ran when the driver went, an error: it is not run again.
    assert isinstance(found, WorkerDied) or found["count"] == 2
    until(lambda: server.engine.ready)
