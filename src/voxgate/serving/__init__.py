"""The process: one listening socket, uvicorn on uvloop, and a clean end."""

from __future__ import annotations

import logging

from voxgate.config import Config
from voxgate.service import Service

from .listening import listen, listen_for, url_of
from .server import Server, end_process

logger = logging.getLogger(__name__)

__all__ = ["Server", "listen", "listen_for", "serve", "url_of"]


def serve(config: Config) -> int:
    """Serves until a signal ends it; the exit code. Raises ConfigError for what is wrong with the settings or the
    model.

    When the model is warm, one line ``voxgate listening on URL`` goes to standard output.
    """
    service = Service(config)
    failure: BaseException | None = None

    def started(error: BaseException | None) -> None:
        nonlocal failure
        if error is None:
            for sock in sockets[1:]:
                logger.info("metrics at %s/metrics", url_of(sock))
            print(f"voxgate listening on {url_of(sockets[0])}", flush=True)
        else:
            failure = error
            server.ask_to_end()

    server = Server(service, started, owns_process=True)
    sockets = listen_for(service)
    try:
        server.run(sockets=sockets)
    finally:
        for sock in sockets:
            sock.close()
    if failure is not None:
        raise failure
    if service.calls_left_behind:
        end_process(0)  # threads inside a model do not survive the interpreter's own end
    return 0
