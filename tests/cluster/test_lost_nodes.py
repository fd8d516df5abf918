"""Nodes that go, the head among them. Each test breaks a cluster of its own."""

from __future__ import annotations

import os
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
