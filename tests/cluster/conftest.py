"""A cluster of two nodes on this machine. `make test-cluster` runs these tests, each in the network that they need."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster import Edge, until
from tools.ray_nodes import LocalCluster, in_own_network

TESTS = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = None
    if importlib.util.find_spec("ray") is None:
        why = "Ray is not installed: pip install 'voxgate[ray]'"
    elif not in_own_network():
        why = "make test-cluster runs it in a network namespace of its own"
    for item in items:
        if TESTS / "cluster" in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))
            if why is not None:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session", autouse=True)
def models_are_importable() -> Iterator[None]:
    """In the replicas, too."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(TESTS))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def cluster(models_are_importable: None) -> Iterator[LocalCluster]:
    with LocalCluster((1, 1)) as running:
        yield running


@pytest.fixture
def edge() -> Iterator[Callable[..., Edge]]:
    made: list[Edge] = []

    def begin(**settings: Any) -> Edge:
        made.append(Edge(**settings))
        until(lambda: made[-1].engine.ready)
        return made[-1]

    yield begin
    for each in made:
        each.close()
