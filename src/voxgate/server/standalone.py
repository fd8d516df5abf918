"""A server that is one process, without a supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable

from voxgate.config import Config
from voxgate.protocol.machine import Route
from voxgate.runtime.exit import end_process
from voxgate.server.next_steps import next_steps
from voxgate.server.server import Server, listen_for
from voxgate.server.sockets import start_line, url_of
from voxgate.service.service import Service

__all__ = ["serve"]

logger = logging.getLogger(__name__)


def serve(config: Config, on_loaded: Callable[[], None] = lambda: None) -> int:
    """Serves until a signal ends it; returns the exit code. Raises ConfigError for settings and models that cannot be
    used.

    Prints the line ``voxgate listening on URL`` and `next_steps` to standard output when the model is warm. on_loaded:
    called when the model is loaded, right before the event loop handles signals.
    """
    service = Service(config)
    scheme = "https" if config.server.tls_certificate is not None else "http"
    failure: BaseException | None = None

    def started(error: BaseException | None) -> None:
        nonlocal failure
        if error is None:
            for sock in sockets[1:]:
                logger.info("metrics at %s/metrics", url_of(sock, scheme))
            route: Route = "segmented" if service.model.stateless else "stateful"
            lines = next_steps(url_of(sockets[0], scheme), config, route)
            print(f"{start_line(sockets[0], config, server.grpc_port)}\n{lines}", flush=True)
        else:
            failure = error
            server.ask_to_end()

    server = Server(service, started, owns_process=True)
    sockets = listen_for(service)
    try:
        on_loaded()
        server.run(sockets=sockets)
    finally:
        for sock in sockets:
            sock.close()
    if failure is not None:
        raise failure
    if service.calls_left_behind:
        end_process(0)  # threads inside a model do not survive a regular end of the interpreter
    return 0
