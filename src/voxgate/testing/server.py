"""A server on a thread of the calling process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Unpack

from voxgate.client import Options, Source, Stream, collect, stream
from voxgate.config import load_config
from voxgate.models import Model, make_model
from voxgate.protocol.events import Event
from voxgate.runtime import tasks
from voxgate.server.server import Server, listen_for
from voxgate.server.sockets import url_of
from voxgate.service.service import Service

__all__ = ["LocalServer", "serving"]

_DEFAULTS = {
    "server.port": 0,
    "server.drain_s": 0,  # a test that ends waits for no client
    "metrics.max_age_s": 0,  # a scrape shows what has happened until now
}


class LocalServer:
    """A running server, made by :func:`serving` or by the fixture ``model_server``: the sockets, the event loop and
    the settings of ``voxgate serve``, on a thread of its own. Any thread may use it.
    """

    model: Model
    """The model that is served. The server calls it on threads of its own."""
    port: int
    """The port on which the server listens; 127.0.0.1 unless the settings say otherwise."""

    def __init__(self, model: Any, settings: Mapping[str, Any] | None = None, *, timeout_s: float = 60.0) -> None:
        overrides = {**_DEFAULTS, **(settings or {})}
        if isinstance(model, str):
            overrides["model.name"] = model
        # The tests of a project get the same result in every directory and environment.
        config = load_config(environ={}, overrides=overrides, default_path=None)
        made = None if isinstance(model, str) else make_model(model, config.model.options)
        self.service = Service(config, made)
        self.model = self.service.model
        try:
            self.server = Server(self.service, self._started)
            self.sockets = listen_for(self.service)
        except BaseException:
            self.service.engine.stop(0)
            raise
        self.port = self.sockets[0].getsockname()[1]
        self._rest = url_of(self.sockets[0], "" if config.server.tls_certificate is None else "s")
        self.loop_errors: list[dict[str, Any]] = []
        self._timeout_s = timeout_s
        self._settled = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None  # noqa: TID251 -- the type alone

    @property
    def grpc_port(self) -> int | None:
        """The port for gRPC, once the server has started; None unless the settings have `grpc.port`."""
        return self.server.grpc_port

    def url(self, route: str = "segmented") -> str:
        """The address of a route, for any websocket client: ``ws://127.0.0.1:PORT/api/v1/ROUTE``."""
        return f"ws{self._rest}/api/v1/{route}"

    def grpc_url(self, route: str = "segmented") -> str:
        """The address of a route over gRPC, for Voxgate's client; the setting ``grpc.port`` has to be there."""
        assert self.server.grpc_port is not None
        return f"grpc://127.0.0.1:{self.server.grpc_port}/api/v1/{route}"

    def http(self, path: str = "/") -> str:
        """The address of a path, for any HTTP client."""
        return f"http{self._rest}{path}"

    def collect(self, source: Source, route: str = "segmented", **options: Unpack[Options]) -> list[Event]:
        """All events of one stream: :func:`voxgate.client.collect` with the address of this server."""
        options.setdefault("addr", self.url(route))
        return collect(source, **options)

    def stream(self, source: Source, route: str = "segmented", **options: Unpack[Options]) -> Stream:
        """The events of one stream for ``async for``: :func:`voxgate.client.stream` with the address of this server."""
        options.setdefault("addr", self.url(route))
        return stream(source, **options)

    def start(self) -> None:
        """Starts the thread; `wait_started` says when the model is warm."""
        self._thread = tasks.spawn_thread(self._run, "voxgate-local-server", daemon=True, subsystem="testing")

    def wait_started(self) -> None:
        """Returns when the model is warm. Raises the exception of a start that failed, and TimeoutError."""
        if not self._settled.wait(self._timeout_s):
            raise TimeoutError(f"model {self.model.name!r} is not warm after {self._timeout_s:g} s")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends the sessions, the server and its threads. Raises TimeoutError when a thread does not end in time, for
        example in a call of the model that does not return, and RuntimeError for an exception that nothing handled on
        the event loop.
        """
        self.server.ask_to_end()
        if self._thread is not None:
            self._thread.join(self._timeout_s)
            if self._thread.is_alive():
                raise TimeoutError(f"the server did not stop within {self._timeout_s:g} s")
        for sock in self.sockets:
            sock.close()
        # The server itself leaves calls behind after half a second, because its process ends with it.
        if self.service.calls_left_behind and not self.service.engine.stop(self._timeout_s):
            raise TimeoutError(f"a call of model {self.model.name!r} did not return within {self._timeout_s:g} s")
        if self.loop_errors:
            context = self.loop_errors[0]
            raise RuntimeError(f"an error on the event loop: {context['message']}") from context.get("exception")

    def _started(self, error: BaseException | None) -> None:
        self._failure = error
        self._settled.set()

    def _run(self) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: self.loop_errors.append(context))
            await self.server.serve(sockets=self.sockets)

        try:
            with asyncio.Runner(loop_factory=self.server.config.get_loop_factory()) as runner:
                runner.run(main())
        except BaseException as error:
            self.loop_errors.append({"message": "the server failed", "exception": error})
            self._failure = error
        finally:
            self._settled.set()


@contextlib.contextmanager
def serving(model: Any, settings: Mapping[str, Any] | None = None, *, timeout_s: float = 60.0) -> Iterator[LocalServer]:
    """Serves `model` while the block runs, on a free port of 127.0.0.1. The server is ready when the block begins, and
    when it ends, no thread and no socket of it is left.

    model: a :class:`voxgate.Model` class or instance, a function, a factory, or a name as for
    :func:`voxgate.models.load_model`. A class is made with the options in `settings`; the server closes the model at
    the end. settings: by dotted name, ``{"vad.detector": "energy", "model.top": 3}``; nothing else counts, neither the
    environment nor a ``voxgate.toml``. timeout_s: the longest wait for the warm-up, and for the end.

    Raises what ends the start of ``voxgate serve``: :class:`voxgate.errors.ConfigError` for a setting,
    :class:`voxgate.errors.ModelLoadError` for the model; TimeoutError when the model does not become warm, or a call
    of it does not return at the end.
    """
    server = LocalServer(model, settings, timeout_s=timeout_s)
    try:
        server.start()
        server.wait_started()
        yield server
    except BaseException:
        # The first failure is the one to show.
        with contextlib.suppress(Exception):
            server.stop()
        raise
    server.stop()
