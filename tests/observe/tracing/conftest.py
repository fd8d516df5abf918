"""A collector for the tests of traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from helpers.otlp import Collector


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Collector]]:
    """``collect("grpc")``: a collector, and an environment in which servers send their spans to it."""
    collectors: list[Collector] = []

    def start(protocol: str = "http/protobuf", **environ: str) -> Collector:
        collector = Collector(protocol)
        collectors.append(collector)
        for name, value in {**collector.environ, **environ}.items():
            monkeypatch.setenv(name, value)
        return collector

    yield start
    for collector in collectors:
        collector.stop()
