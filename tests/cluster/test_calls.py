"""Calls of a healthy cluster: results, batches, options, states, interim results, and several servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, put, until
from tools.ray_nodes import LocalCluster
from voxgate.inference.engine.base import Job, State
from voxgate.protocol.output import Output

Begin = Callable[..., Edge]


@pytest.fixture(scope="module")
def directory(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("actor")
    put("Actor", path)
    return path


def test_two_servers_share_the_replicas(directory: Path, edge: Begin) -> None:
    one, other = edge(), edge()
    assert (one.engine.model.name, one.engine.model.sample_rate, one.engine.model.batches) == ("Actor", 8_000, True)
    assert one.engine.model.stateful
    until(lambda: one.engine.concurrency == 4)  # Two replicas that take two calls each.
    jobs = [(server, server.job(n_samples=n)) for n in range(1, 21) for server in (one, other)]
    found = [(server.outcome(job)["count"], job.attempts) for server, job in jobs]
    assert found == [(n, 1) for n in range(1, 21) for _ in range(2)]
    pids = {server.outcome(job)["pid"] for server, job in jobs}
    assert len(pids) == 2
    assert one.engine.counts().results == 20
    assert one.engine.driver_pid != other.engine.driver_pid


def test_batches_cross_whole(directory: Path, edge: Begin) -> None:
    server = edge(calls=1)
    gate = server.job(does.WAIT)
    until(lambda: list(directory.glob("waits-*")))
    jobs = [server.job(n_samples=n) for n in (1, 5, 3)]
    (directory / "go").touch()
    assert server.outcome(gate)["count"] == 8
    assert [(server.outcome(job)["count"], server.outcome(job)["of"]) for job in jobs] == [(1, 3), (5, 3), (3, 3)]


def test_a_model_may_change_its_audio(directory: Path, edge: Begin) -> None:
    server = edge()
    job = server.job(does.CHANGE, n_samples=3)
    assert server.outcome(job)["count"] == 3
    assert job.audio.tolist() == [does.CHANGE, 0, 0]


def test_a_session_stays_with_its_replica(directory: Path, edge: Begin) -> None:
    server = edge()
    states = [State() for _ in range(6)]
    first = [server.step(state) for state in states]
    assert {found["pid"] for found in first} == {found["pid"] for found in first[:6]}
    for turn in (2, 3, 4):
        for state, before in zip(states, first, strict=True):
            assert server.step(state) == {"total": 8 * turn, "pid": before["pid"]}
    for state, before in zip(states, first, strict=True):
        end = server.one(n_samples=1, method="finish", state=state)
        assert end == {"total": 32, "pid": before["pid"], "finished": True}
    assert len({found["pid"] for found in first}) == 2


def test_interim_results_and_the_end_of_a_call(
    cluster: LocalCluster, tmp_path: Path, edge: Begin, directory: Path
) -> None:
    put("Yielding", tmp_path, "--app", "yielding", replicas="1")
    server = edge(app="yielding")
    partials: list[Output] = []

    def note(job: Job, output: Output) -> None:
        partials.append(output)

    assert server.one(on_partial=note) == {"n": "done"}
    # A result that comes soon leaves no time for them.
    assert all(partial["n"] in (0, 1, 2, "done") for partial in partials)
    (tmp_path / "closed").unlink()
    endless = server.job(does.WAIT, on_partial=note)
    until(lambda: {"n": 3} in partials)
    server.on_loop(lambda: server.scheduler.cancel(endless))
    until(lambda: (tmp_path / "closed").exists())
    assert server.one() == {"n": "done"}
