"""What clients see when a part of the cluster fails: a result, a late result, or one error for one utterance."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, put, until
from tools.ray_nodes import LocalCluster
from voxgate.errors import InferenceError
from voxgate.inference.engine.base import State

Begin = Callable[..., Edge]

DIED = "The worker that ran the model died"


@pytest.fixture
def actor(cluster: LocalCluster, tmp_path: Path) -> Path:
    """Two replicas of `Actor`, new ones for each test; their directory."""
    put("Actor", tmp_path, "--hang-timeout", "15")  # Longer than the deadline of the test that needs it.
    return tmp_path


def waiting_pid(directory: Path) -> int:
    """The replica that runs a WAIT."""
    found: Path = until(lambda: next(iter(directory.glob("waits-*")), None))
    found.unlink()
    return int(found.name.removeprefix("waits-"))


def test_a_replica_that_is_killed_in_a_call(actor: Path, edge: Begin) -> None:
    server = edge()
    final = server.job(does.WAIT, n_samples=5)
    killed = waiting_pid(actor)
    os.kill(killed, signal.SIGKILL)
    assert waiting_pid(actor) != killed  # It runs once more, elsewhere.
    (actor / "go").touch()
    assert server.outcome(final)["count"] == 5
    assert final.attempts == 2
    (actor / "go").unlink()
    interim = server.job(does.WAIT, final=False)
    os.kill(waiting_pid(actor), signal.SIGKILL)
    assert str(server.outcome(interim)) == DIED
    assert interim.attempts == 1
    assert server.engine.counts().crashes >= 2


def test_a_call_that_kills_every_replica_has_one_error(actor: Path, edge: Begin) -> None:
    server = edge(calls=1)
    gate = server.job(does.WAIT)
    waiting_pid(actor)
    poisoned, other = server.job(does.CRASH), server.job()
    (actor / "go").touch()
    assert server.outcome(gate)["count"] == 8
    assert str(server.outcome(poisoned)) == DIED
    assert poisoned.attempts == 2
    assert server.outcome(other)["count"] == 8  # It was in the batch of the first attempt, and ran again without it.
    assert server.one()["count"] == 8  # As soon as a replica is back.


def test_a_replica_that_is_killed_while_idle(actor: Path, edge: Begin) -> None:
    server = edge()
    os.kill(server.one()["pid"], signal.SIGKILL)
    assert [server.one()["count"] for _ in range(10)] == [8] * 10


def test_a_replica_that_hangs_is_replaced(actor: Path, edge: Begin) -> None:
    server = edge(deadline_s=8.0)
    pids = {server.one()["pid"] for _ in range(10)}
    hung = server.job(does.HANG)
    assert [server.one()["count"] for _ in range(5)] == [8] * 5
    outcome = server.outcome(hung)  # Ray may replace the replica before the deadline: then the call runs once more.
    if isinstance(outcome, InferenceError):
        assert str(outcome) == "The model gave no answer within 8 s"
    else:
        assert (outcome["count"], hung.attempts) == (8, 2)
    assert server.engine.ready

    def is_replaced() -> bool:
        found = server.one()
        return not isinstance(found, InferenceError) and found["pid"] not in pids

    until(is_replaced)


def test_a_model_without_memory_fails_alone(actor: Path, edge: Begin) -> None:
    """The model's own MemoryError. When the kernel or Ray kills the replica, it is one that was killed in a call."""
    server = edge()
    failed = server.job(does.MEMORY)
    assert str(server.outcome(failed)) == "Internal server error"
    assert server.one()["count"] == 8


def test_sessions_of_a_lost_replica_have_one_error_each_and_others_none(actor: Path, edge: Begin) -> None:
    server = edge()
    states = [State() for _ in range(8)]
    pids = [server.step(state)["pid"] for state in states]
    assert len(set(pids)) == 2
    os.kill(pids[0], signal.SIGKILL)
    for state, pid in zip(states, pids, strict=True):
        found = server.step(state)
        if pid == pids[0]:
            assert str(found) == DIED
            assert state.lost
        else:
            assert found == {"total": 16, "pid": pid}
    assert server.step(State())["total"] == 8


def test_a_driver_that_is_killed(actor: Path, edge: Begin) -> None:
    server = edge()
    final, killed = server.job(does.WAIT), server.engine.driver_pid
    waiting_pid(actor)
    os.kill(killed, signal.SIGKILL)
    until(lambda: server.engine.driver_pid not in (0, killed))
    (actor / "go").touch()
    assert server.outcome(final)["count"] == 8
    assert final.attempts == 2
    assert server.engine.counts().restarts == 1


def test_an_update_in_mid_stream(actor: Path, edge: Begin) -> None:
    server = edge()
    state, found, over = State(), [], threading.Event()
    assert server.step(state)["total"] == 8

    def stream() -> None:
        while not over.is_set():
            found.append(server.one())

    streams = [threading.Thread(target=stream) for _ in range(3)]
    for each in streams:
        each.start()
    put("Actor", actor, version=2)
    until(lambda: found[-1]["version"] == 2)
    over.set()
    for each in streams:
        each.join()
    assert [result["count"] for result in found] == [8] * len(found)
    assert {result["version"] for result in found} == {1, 2}
    lost = server.step(state)  # Its replica has gone.
    assert str(lost) == DIED
    assert server.step(State())["total"] == 8


def test_an_update_to_a_model_with_another_rate_makes_the_server_unready(actor: Path, edge: Begin) -> None:
    server = edge()
    put("Actor", actor, rate=16_000)
    until(lambda: not server.engine.ready)
    put("Actor", actor)
    until(lambda: server.engine.ready)
    assert server.one()["count"] == 8
