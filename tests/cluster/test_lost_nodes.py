"""Nodes that go, the head among them. Each test breaks a cluster of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import cluster_models as does
from helpers.cluster import Edge, put, until
from tools.ray_nodes import LocalCluster

Begin = Callable[..., Edge]


@pytest.fixture
def nodes(models_are_importable: None) -> Iterator[LocalCluster]:
    with LocalCluster((1, 1)) as running:
        yield running


def test_a_node_and_then_the_head_are_lost(nodes: LocalCluster, tmp_path: Path, edge: Begin) -> None:
    put("Actor", tmp_path, "--cpus", "1")  # One replica on each node.
    server = edge(deadline_s=300.0)
    jobs = [server.job(does.WAIT) for _ in range(4)]
    until(lambda: len(list(tmp_path.glob("waits-*"))) == 2)
    nodes.kill(nodes.nodes.pop())
    (tmp_path / "go").touch()
    assert [server.outcome(job)["count"] for job in jobs] == [8] * 4
    assert server.engine.ready

    pid = server.engine.driver_pid
    nodes.kill(nodes.nodes.pop())
    until(lambda: not server.engine.ready)
    late = server.job(n_samples=3)  # It waits for its deadline.
    nodes.nodes = [nodes.add(1), nodes.add(1)]
    put("Actor", tmp_path)  # Without Redis, the new head knows nothing of the old one.
    until(lambda: server.engine.ready)
    assert server.outcome(late)["count"] == 3
    assert server.engine.driver_pid != pid
    os.kill(server.engine.driver_pid, 0)


def test_a_head_with_redis_is_restored(models_are_importable: None, tmp_path: Path, edge: Begin) -> None:
    """Its control service ends and starts again; servers and replicas go on, and nothing is deployed anew."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server: apt-get install redis-server")
    redis = subprocess.Popen(["redis-server", "--port", "7777", "--save", "", "--dir", str(tmp_path)])
    try:
        with LocalCluster((1, 1), {"RAY_REDIS_ADDRESS": "127.0.0.1:7777"}) as nodes:
            put("Actor", tmp_path)
            server = edge(lost_after_s=60.0)
            pid, before = server.engine.driver_pid, server.one()["pid"]
            running = server.job(does.WAIT)
            until(lambda: server.scheduler.depths()["running"] == 1)
            nodes.kill_gcs()
            time.sleep(5)  # Long enough for everybody to notice.
            nodes.start_gcs()
            (tmp_path / "go").touch()
            assert server.outcome(running)["count"] == 8
            until(lambda: server.engine.ready)
            found = [server.one() for _ in range(10)]
            assert [each["count"] for each in found] == [8] * 10
            assert before in {each["pid"] for each in found}
            assert server.engine.driver_pid == pid
    finally:
        redis.kill()
        redis.wait()
