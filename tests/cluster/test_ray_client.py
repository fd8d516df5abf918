"""`ray.address = "ray://..."`: a Ray client, which needs no Ray node beside the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, put, until
from tools.ray_nodes import CLIENT_PORT, LocalCluster
from voxgate.inference.engine.base import Job, State
from voxgate.protocol.output import Output

ADDRESS = f"ray://127.0.0.1:{CLIENT_PORT}"


@pytest.fixture(scope="module")
def for_clients(models_are_importable: None) -> Iterator[LocalCluster]:
    with LocalCluster((1, 1), for_clients=True) as running:
        yield running


def deployed(*arguments: object, **more: object) -> bool:
    """Over `ray://`. The head starts a process for each client, and gives up when the machine is too busy for that."""
    try:
        put(*arguments, address=ADDRESS, **more)  # type: ignore[arg-type]
    except RuntimeError as error:
        if "Starting Ray client server failed" not in str(error):
            raise
        return False
    return True


def test_a_server_that_is_a_client(for_clients: LocalCluster, tmp_path: Path, edge: Callable[..., Edge]) -> None:
    until(lambda: deployed("Actor", tmp_path))
    server = edge(address=ADDRESS)
    until(lambda: server.engine.concurrency == 4)
    assert [server.one(n_samples=n)["count"] for n in range(1, 11)] == list(range(1, 11))

    states = [State() for _ in range(4)]
    first = [server.step(state)["pid"] for state in states]
    assert [server.step(state) for state in states] == [{"total": 16, "pid": pid} for pid in first]

    final = server.job(does.WAIT, n_samples=5)
    waiting: Path = until(lambda: next(iter(tmp_path.glob("waits-*")), None))
    waiting.unlink()
    os.kill(int(waiting.name.removeprefix("waits-")), signal.SIGKILL)
    (tmp_path / "go").touch()
    assert server.outcome(final)["count"] == 5
    assert final.attempts == 2


def test_a_client_gets_no_interim_results_of_a_call(
    for_clients: LocalCluster, tmp_path: Path, edge: Callable[..., Edge]
) -> None:
    until(lambda: deployed("Yielding", tmp_path, "--app", "yielding", replicas="1"))
    partials: list[Output] = []

    def note(job: Job, output: Output) -> None:
        partials.append(output)

    assert edge(address=ADDRESS, app="yielding").one(on_partial=note) == {"n": "done"}
    assert partials == []
