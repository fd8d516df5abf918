from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers.job_source import WAIT_S, Source
from helpers.processes import children
from voxgate.inference.engine.processes import ProcessEngine, ProcessSettings
from voxgate.inference.engine.processes.channel import Channel

Started = Callable[..., tuple[ProcessEngine, Source]]


@pytest.fixture
def start() -> Iterator[Started]:
    """``start("Puppet", {"directory": ...}, processes=2)``: an engine that is warm, and its source."""
    running: list[tuple[ProcessEngine, Source]] = []
    others = children()

    def begin(name: str = "Puppet", options: Any = None, **settings: Any) -> tuple[ProcessEngine, Source]:
        settings = {"processes": 1, "restart_backoff_s": 0.01, **settings}
        engine = ProcessEngine(ProcessSettings(f"helpers.worker_models:{name}", options or {}, **settings))
        source = Source()
        running.append((engine, source))
        engine.load()
        engine.start(source)
        engine.warm_up()
        return engine, source

    yield begin
    for engine, source in running:
        source.close()
        engine.stop(WAIT_S)
    for engine, _ in running:
        assert engine.pids == []
    assert children() <= others  # Neither a child nor a zombie is left.


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    """The server's end and the worker's."""
    ours, theirs = map(Channel, socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()
