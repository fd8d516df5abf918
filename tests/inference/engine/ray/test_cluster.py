from __future__ import annotations

import pytest

exceptions = pytest.importorskip("ray.exceptions")


def test_what_is_a_loss_and_what_is_a_bug() -> None:
    from ray.serve.exceptions import RayServeException

    from voxgate.inference.engine.ray.cluster import failure_kind

    for lost in (
        exceptions.ActorDiedError(),
        exceptions.ActorUnavailableError("away", None),
        exceptions.OutOfMemoryError("too much"),
        RayServeException("no replica"),
        ConnectionError("cut"),
    ):
        assert failure_kind(lost)[0] == "died", lost
    for bug in (ZeroDivisionError(), exceptions.RayTaskError("f", "trace", ValueError("x"))):
        assert failure_kind(bug)[0] == "bug", bug
    assert failure_kind(ConnectionError("cut\nmore"))[1] == "ConnectionError: cut"
