"""The process: one listening socket, uvicorn on uvloop, and a clean end."""

from __future__ import annotations

from voxgate.config import Config
from voxgate.service import Service

from .listening import listen, url_of
from .server import Server, end_process

__all__ = ["Server", "listen", "serve", "url_of"]


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
            print(f"voxgate listening on {url_of(sock)}", flush=True)
        else:
            failure = error
            server.ask_to_end()

    server = Server(service, started, owns_process=True)
    with listen(config.server) as sock:
        server.run(sockets=[sock])
    if failure is not None:
        raise failure
    if service.calls_left_behind:
        end_process(0)  # threads inside a model do not survive the interpreter's own end
    return 0
