"""A real server on a real socket, for every test that wants one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import hypothesis
import pytest

from helpers.signals import let_children_hear
from voxgate.config import load_config
from voxgate.models import FunctionModel, Model
from voxgate.runtime import logs
from voxgate.server.server import Server, listen_for
from voxgate.service.service import Service

# How long an example takes depends on who else has work for the machine.
hypothesis.settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any-machine")
let_children_hear()


class LiveServer:
    """`voxgate serve` in a thread: the same socket options, the same uvicorn settings, any model."""

    def __init__(self, model: Model | None, settings: Mapping[str, Any]) -> None:
        # Energy is the detector of most tests: it needs no weights, and its kernel has one form everywhere.
        # No grace: a test is over when it is over. And what is counted is told at once.
        defaults = {"server.port": 0, "server.drain_s": 0, "vad.detector": "energy", "metrics.max_age_s": 0}
        config = load_config(environ={}, overrides={**defaults, **settings})
        self.service = Service(config, model)
        self.sockets = listen_for(self.service)
        self.socket = self.sockets[0]
        self.port: int = self.socket.getsockname()[1]
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        self.loop_errors: list[dict[str, Any]] = []
        self.server = Server(self.service, self._started)
        self._thread = threading.Thread(target=self._run, name="live-server")

    def _started(self, error: BaseException | None) -> None:
        self.failure = error
        self.ready.set()

    def _run(self) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: self.loop_errors.append(context))
            await self.server.serve(sockets=self.sockets)

        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    def start(self, wait: bool = True) -> LiveServer:
        self._thread.start()
        if wait:
            assert self.ready.wait(30), "the server did not become ready"
            assert self.failure is None, self.failure
        return self

    def stop(self) -> None:
        self.server.ask_to_end()
        self._thread.join(30)
        for socket in self.sockets:
            socket.close()
        assert not self._thread.is_alive(), "the server did not stop"
        assert self.service.streams == 0
        assert self.loop_errors == []

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

    def url(self, route: str = "segmented") -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/{route}"

    def http(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture(autouse=True)
def levels_of_logging() -> Iterator[None]:
    """A verb of the command line that runs in this process sets levels of the log: later tests expect their own."""
    loggers = [logging.getLogger(name) for name in (None, "voxgate", "uvicorn", "uvicorn.error", "uvicorn.access")]
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
        if model is None:
            model = FunctionModel(count)
        elif isinstance(model, str):
            model, settings = None, {"model": model, **settings}
        elif not isinstance(model, Model):
            model = FunctionModel(model)
        server = LiveServer(model, settings)
        servers.append(server)
        return server.start(wait)

    yield start
    for server in servers:
        server.stop()


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
