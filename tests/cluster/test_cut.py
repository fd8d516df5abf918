"""The network between a server and its cluster is cut: two networks, joined by a virtual cable."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, put, until
from tools.ray_nodes import LocalCluster

Begin = Callable[..., Edge]

HERE, THERE = "10.77.0.1", "10.77.0.2"


def ip(*arguments: str, inside: list[str] | None = None) -> None:
    subprocess.run([*(inside or []), "ip", *arguments], check=True, capture_output=True)


class Cable:
    """A network at its other end."""

    def __init__(self, pid: int) -> None:
        """`pid`: a process in that network."""
        self.inside = ["nsenter", "-t", str(pid), "-n"]
        ip("link", "add", "vghere", "type", "veth", "peer", "name", "vgthere", "netns", str(pid))
        ip("addr", "add", f"{HERE}/24", "dev", "vghere")
        ip("link", "set", "vghere", "up")
        ip("route", "add", "default", "via", THERE)  # Ray asks for the route to the internet, to learn its address.
        ip("link", "set", "lo", "up", inside=self.inside)
        ip("addr", "add", f"{THERE}/24", "dev", "vgthere", inside=self.inside)
        self.mend()

    def cut(self) -> None:
        ip("link", "set", "vgthere", "down", inside=self.inside)

    def mend(self) -> None:
        ip("link", "set", "vgthere", "up", inside=self.inside)
        ip("route", "replace", "default", "via", HERE, inside=self.inside)


@pytest.fixture
def cable() -> Iterator[Cable]:
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 100000"], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            try:
                made = Cable(other.pid)
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                pytest.skip(f"no virtual network cards: {error}")
            yield made
        finally:
            other.kill()
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("link", "del", "vghere")


@pytest.fixture
def node_here(cable: Cable, models_are_importable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray node on the side of the server, which a supervisor starts again when it has ended, as in production."""
    over = threading.Event()
    current: list[subprocess.Popen[bytes]] = []
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        f"--address={THERE}:6379",
        f"--node-ip-address={HERE}",
    ]

    def supervise() -> None:
        while not over.is_set():
            with (tmp_path_factory.getbasetemp() / "node.log").open("ab") as log:
                node = subprocess.Popen(
                    [*command, "--num-cpus=0", "--object-store-memory=80000000", "--block"],
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            current[:] = [node]
            node.wait()
            over.wait(1)

    with LocalCluster((1, 1), inside=cable.inside, ip=THERE):
        thread = threading.Thread(target=supervise)
        thread.start()
        yield
        over.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(current[0].pid, 9)
        thread.join()


def test_a_cut_network(cable: Cable, node_here: None, tmp_path: Path, edge: Begin) -> None:
    put("Actor", tmp_path, address=f"{THERE}:6379")
    server = edge(address=f"{THERE}:6379", deadline_s=300.0)
    assert server.one()["count"] == 8
    running = server.job(does.WAIT)
    until(lambda: list(tmp_path.glob("waits-*")))
    cable.cut()
    until(lambda: not server.engine.ready)
    late, interim = server.job(n_samples=3), server.job(n_samples=2, final=False)
    (tmp_path / "go").touch()
    cable.mend()
    assert server.outcome(running)["count"] == 8  # It ran once more, if the cut took the first answer.
    assert server.outcome(late)["count"] == 3
    assert server.outcome(interim) is not None
    assert server.engine.ready
