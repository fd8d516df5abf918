"""The driver process as the server sees it. test_engine has its calls."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from helpers.cluster import until
from voxgate.inference.engine.ray import RaySettings, link
from voxgate.inference.engine.ray.link import DriverLink, NoDriver
from voxgate.inference.engine.ray.messages import Call


def test_without_a_replica_no_call_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_DRIVER", "helpers.fake_driver")
    changed = threading.Event()
    driver = DriverLink(RaySettings("helpers.cluster_models:Actor", str(tmp_path)), changed.set, lambda: [])
    call = Call(0, b"", memoryview(b""))
    with pytest.raises(NoDriver):
        driver.call(call, 0.0, lambda _: False, lambda _: None)
    driver.start()
    until(lambda: "there is no application" in driver.reason)
    assert changed.is_set()
    assert (driver.replicas, driver.facts) == (0, None)
    with pytest.raises(NoDriver):
        driver.call(call, 0.0, lambda _: False, lambda _: None)
    driver.stop(60)
    assert driver.pid == 0
    assert driver.counts().crashes == 0
