"""A real server on a real socket, for every test that wants one."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import hypothesis
import pytest

from helpers.crashed_workers import pytest_sessionfinish, pytest_testnodedown  # noqa: F401 -- hooks
from helpers.signals import let_children_hear
from voxgate.runtime import logs
from voxgate.testing import LocalServer

# How long an example takes depends on who else has work for the machine.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")
let_children_hear()


class LiveServer(LocalServer):
    """The server of `voxgate.testing`, set up for tests of the server itself."""

    def __init__(self, model: Any, settings: Mapping[str, Any]) -> None:
        # Energy is the detector of most tests: it needs no weights, and its kernel has one form everywhere.
        super().__init__(model, {"vad.detector": "energy", **settings}, timeout_s=30)

    def stop(self) -> None:
        super().stop()
        assert self.service.streams == 0

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Its loop does nothing meanwhile, and then finds all that has come by then: of what is sent in here, no time
        that the server gives is used up.
        """
        still, go_on = threading.Event(), threading.Event()

        def stand() -> None:
            still.set()
            assert go_on.wait(30)

        self.server._loop.call_soon_threadsafe(stand)
        try:
            assert still.wait(30)
            yield
        finally:
            go_on.set()


@pytest.fixture(autouse=True)
def levels_of_logging() -> Iterator[None]:
    """A verb of the command line that runs in this process sets levels of the log: later tests expect their own."""
    names = (None, "voxgate", "uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    handlers = list(logging.root.handlers)
    yield
    for logger, level, propagate in before:
        logger.setLevel(level)
        logger.propagate = propagate
    for handler in [one for one in logging.root.handlers if one not in handlers and isinstance(one, logs.Handler)]:
        logging.root.removeHandler(handler)


@pytest.fixture
def serve() -> Iterator[Callable[..., LiveServer]]:
    """``serve(model, **{"limits.channels": 2})``: a running server; `model` may be a plain function, or the name of a
    model for the settings.
    """
    servers: list[LiveServer] = []

    def start(model: Any = None, *, wait: bool = True, **settings: Any) -> LiveServer:
        server = LiveServer(count if model is None else model, settings)
        servers.append(server)
        server.start()
        if wait:
            server.wait_started()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def frozen() -> Iterator[None]:
    """`gc.get_objects` gives what the test makes, without the million objects that were there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes its time on a busy machine is not told in the log."""
    monkeypatch.setattr("voxgate.runtime.tasks._SLOW_S", 60.0)
    monkeypatch.setattr("voxgate.runtime.watchdog._STALL_S", 60.0)


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The end of a server, here and in processes that are started with this environment, has more than the second after
    the grace time that it has otherwise: a busy machine may need it for what is said last.
    """
    patched = (
        "server.server.LAST_FINALS_S",
        "server.server.LAST_CLOSES_S",
        "server.server.GONE_S",
        "server.supervisor.GONE_S",
    )
    path = tmp_path_factory.mktemp("patient")
    lines = ["import voxgate.server.server, voxgate.server.supervisor"]
    for name in patched:
        monkeypatch.setattr(f"voxgate.{name}", 25.0)
        if "FINALS" not in name:  # that time is used up where the model never returns
            lines.append(f"voxgate.{name} = 25.0")
    (path / "sitecustomize.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])]))


def count(audio: Any) -> dict[str, int]:
    """The model of most tests: what the dummy answers, at once."""
    return {"count": len(audio)}
