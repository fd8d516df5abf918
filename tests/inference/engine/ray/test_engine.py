"""The engine with a driver that needs no Ray. tests/cluster has the same on a cluster."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, until
from voxgate.errors import ConfigError, ModelLoadError
from voxgate.inference.engine.base import Job, State
from voxgate.inference.engine.ray import RayEngine, RaySettings, link
from voxgate.protocol.output import Output

Begin = Callable[..., Edge]

DIED = "The worker that ran the model died"


def write(directory: Path, name: str, value: object) -> None:
    (directory / "new").write_text(str(value))
    (directory / "new").rename(directory / name)


def test_the_facts_come_from_the_cluster(edge: Begin) -> None:
    engine = edge().engine
    assert (engine.kind, engine.model.name, engine.model.sample_rate) == ("ray", "Actor", 8_000)
    assert (engine.model.batches, engine.model.stateful, engine.model.stateless) == (True, True, True)
    assert engine.gives_text is False
    assert engine.warm_up() == 0.0


def test_concurrency_follows_the_replicas(edge: Begin, tmp_path: Path) -> None:
    server = edge(replicas=1)
    assert server.engine.concurrency == 2
    write(tmp_path, "replicas", 3)
    until(lambda: server.engine.concurrency == 6)
    jobs = [server.job(does.WAIT) for _ in range(6)]
    until(lambda: server.scheduler.depths()["running"] == 6)
    write(tmp_path, "replicas", 1)
    until(lambda: server.engine.concurrency == 2)
    (tmp_path / "go").touch()
    assert [server.outcome(job)["count"] for job in jobs] == [8] * 6
    assert server.engine.counts().results == 6
    assert server.engine.stalled_s == 0.0


@pytest.mark.parametrize(("replicas", "calls_at_once"), [(1, 1), (3, 2), (5, 4)])
def test_servers_that_share_the_replicas_make_their_part_of_the_calls(
    edge: Begin, replicas: int, calls_at_once: int
) -> None:
    assert edge(replicas=replicas, servers=3).engine.concurrency == calls_at_once


def test_finals_run_before_interims_when_replicas_are_scarce(edge: Begin, tmp_path: Path) -> None:
    server = edge(calls=1, max_batch_size=1)
    order: list[Job] = []
    gate = server.job(does.WAIT)
    until(lambda: server.scheduler.depths()["running"] == 1)
    jobs = [server.job(n_samples=n, final=n > 2, on_ended=order.append) for n in (1, 2, 3, 4)]
    assert server.on_loop(lambda: server.scheduler.withdraw(jobs[0]))  # As a final supersedes its interim.
    (tmp_path / "go").touch()
    for job in (gate, *jobs[1:]):
        server.outcome(job)
    assert order == [jobs[2], jobs[3], jobs[1]]


def test_without_replicas_calls_wait(edge: Begin, tmp_path: Path) -> None:
    server = edge()
    write(tmp_path, "replicas", 0)
    until(lambda: not server.engine.ready)
    assert not server.scheduler.making_progress
    late = server.job(n_samples=3)
    write(tmp_path, "replicas", 1)
    assert server.outcome(late)["count"] == 3
    assert server.engine.ready


def test_without_replicas_calls_fail_at_their_deadline(edge: Begin, tmp_path: Path) -> None:
    server = edge(deadline_s=0.5)
    write(tmp_path, "replicas", 0)
    until(lambda: not server.engine.ready)
    assert str(server.one()) == "The model gave no answer within 0.5 s"


def test_a_lost_call_runs_once_more_if_it_is_a_final(edge: Begin, tmp_path: Path) -> None:
    server = edge()
    for is_final in (True, False):
        write(tmp_path, "cut", "yes")
        job = server.job(final=is_final)
        assert (server.outcome(job)["count"] == 8) if is_final else (str(server.outcome(job)) == DIED)
        assert job.attempts == 1 + is_final
    assert server.engine.counts().crashes == 2


def test_a_hung_call_ends_at_its_deadline(edge: Begin) -> None:
    server = edge(deadline_s=1.0)
    assert str(server.one(does.HANG)) == "The model gave no answer within 1 s"
    assert server.one()["count"] == 8


def test_a_driver_that_is_killed_is_replaced(edge: Begin, tmp_path: Path) -> None:
    server = edge()
    final, killed = server.job(does.WAIT), server.engine.driver_pid
    until(lambda: server.scheduler.depths()["running"] == 1)
    os.kill(killed, signal.SIGKILL)
    (tmp_path / "go").touch()
    assert server.outcome(final)["count"] == 8
    assert final.attempts == 2
    assert server.engine.driver_pid not in (0, killed)
    counts = server.engine.counts()
    assert (counts.crashes, counts.restarts) == (1, 1)


def test_a_driver_without_its_cluster_is_replaced(edge: Begin, tmp_path: Path) -> None:
    server = edge(lost_after_s=0.2)
    before = server.engine.driver_pid
    write(tmp_path, "hidden", "yes")
    until(lambda: server.engine.driver_pid != before)
    assert not server.engine.ready
    (tmp_path / "hidden").unlink()
    assert server.one()["count"] == 8


def test_states_stay_with_their_replica_and_are_forgotten(edge: Begin, tmp_path: Path) -> None:
    server = edge()
    state, other = State(), State()
    assert [server.step(state)["total"] for _ in range(3)] == [8, 16, 24]
    assert server.step(other)["total"] == 8
    assert server.one(n_samples=1, method="finish", state=state)["total"] == 24
    place = f"{state.value.replica} [{state.value.number}]"
    server.ended.clear()
    del state
    gc.collect()
    until(lambda: place in (tmp_path / "forgotten").read_text() if (tmp_path / "forgotten").exists() else False)
    assert server.step(other)["total"] == 16


def test_a_state_whose_replica_has_gone_is_lost_alone(edge: Begin, tmp_path: Path) -> None:
    server = edge(replicas=2)
    states = [State() for _ in range(4)]
    for state in states:
        server.step(state)
    places = [state.value.replica for state in states]
    assert len(set(places)) == 2
    write(tmp_path, "replicas", 1)
    until(lambda: server.engine.concurrency == 2)
    for state, place in zip(states, places, strict=True):
        found = server.step(state)
        assert state.lost == (str(found) == DIED) == place.endswith("1")


def test_interim_results_and_a_call_that_nobody_needs(edge: Begin, tmp_path: Path) -> None:
    server = edge("Yielding")
    partials: list[Output] = []
    endless = server.job(does.WAIT, on_partial=lambda job, output: partials.append(output))
    until(lambda: {"n": 3} in partials)
    server.on_loop(lambda: server.scheduler.cancel(endless))
    until((tmp_path / "closed").exists)
    assert server.one() == {"n": "done"}


def test_another_model_makes_the_server_unready(edge: Begin, tmp_path: Path) -> None:
    server = edge()
    write(tmp_path, "rate", 16_000)
    until(lambda: not server.engine.ready)
    write(tmp_path, "rate", 8_000)
    until(lambda: server.engine.ready)
    assert server.one()["count"] == 8


@pytest.mark.parametrize(
    ("name", "reason"), [("empty", "there is no application 'nowhere'"), ("unable", "this driver will not do")]
)
def test_a_start_without_cluster_or_application_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.setattr(link, "_DRIVER", "helpers.fake_driver")
    (tmp_path / name).touch()
    engine = RayEngine(RaySettings("nowhere", str(tmp_path), start_timeout_s=300.0))
    failures: list[ModelLoadError] = []

    def load() -> None:
        try:
            engine.load()
        except ModelLoadError as error:
            failures.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    until(lambda: reason in engine.why_unready)
    engine.stop()
    loading.join()
    assert str(failures[0]).startswith("no model on Ray")
    assert engine.driver_pid == 0


def test_an_address_never_starts_a_cluster() -> None:
    with pytest.raises(ConfigError, match=r"ray\.address"):
        RayEngine(RaySettings(address="local"))
