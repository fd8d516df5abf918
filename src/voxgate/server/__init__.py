"""The process: one listening socket, uvicorn on uvloop, and a clean end."""

from __future__ import annotations

import logging
from collections.abc import Callable

from voxgate.config import Config
from voxgate.server.server import Server, end_process, listen_for
from voxgate.server.sockets import url_of
from voxgate.service.service import Service

logger = logging.getLogger(__name__)

__all__ = ["Server", "listen_for", "serve"]


def serve(config: Config, on_loaded: Callable[[], None] = lambda: None) -> int:
    """Serves until a signal ends it; the exit code. Raises ConfigError for what is wrong with the settings or the
    model.

    When the model is warm, one line ``voxgate listening on URL`` goes to standard output. on_loaded: called before
    that, when the model is loaded, right before the event loop takes signals over.
    """
    service = Service(config)
    scheme = "https" if config.server.tls_certificate is not None else "http"
    failure: BaseException | None = None

    def started(error: BaseException | None) -> None:
        nonlocal failure
        if error is None:
            for sock in sockets[1:]:
                logger.info("metrics at %s/metrics", url_of(sock, scheme))
            print(f"voxgate listening on {url_of(sockets[0], scheme)}", flush=True)
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
        end_process(0)  # threads inside a model do not survive the interpreter's own end
    return 0
