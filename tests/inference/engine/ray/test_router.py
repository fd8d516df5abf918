from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.serve")


def test_a_state_goes_to_its_replica_and_elsewhere_when_that_is_gone() -> None:
    from voxgate.inference.engine.ray.router import StateRouter

    replicas: list[Any] = [SimpleNamespace(replica_id=SimpleNamespace(unique_id=name)) for name in "abcd"]

    def chosen(session_id: str, among: list[Any]) -> list[Any]:
        pending: Any = SimpleNamespace(
            metadata=SimpleNamespace(session_id=session_id), routing_context=SimpleNamespace(should_backoff=False)
        )
        choose: Any = StateRouter.choose_replicas
        return asyncio.run(choose(None, among, pending))

    assert chosen("c", replicas) == [[replicas[2]]]
    assert len(chosen("x", replicas)[0]) == 2
    assert len(chosen("", replicas)[0]) == 2
    assert chosen("c", replicas[:1]) == [replicas[:1]]
    assert chosen("c", []) == []
