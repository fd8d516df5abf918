from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster import Edge, until
from voxgate.inference.engine.ray import link


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Edge]]:
    """A server's engine whose driver has the directory of the test in place of a cluster (`fake_driver`)."""
    monkeypatch.setattr(link, "_DRIVER", "helpers.fake_driver")
    made: list[Edge] = []

    def begin(model: str = "Actor", replicas: int = 2, **settings: Any) -> Edge:
        (tmp_path / "replicas").write_text(str(replicas))
        settings = {"address": str(tmp_path), "restart_backoff_s": 0.01, **settings}
        made.append(Edge(app=f"helpers.cluster_models:{model}", **settings))
        until(lambda: made[-1].engine.ready)
        return made[-1]

    yield begin
    for each in made:
        each.close()
