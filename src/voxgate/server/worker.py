"""The program of one of several server processes: a whole server, which a supervisor starts and ends."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import NoReturn

from voxgate.config import Config
from voxgate.errors import ConfigError
from voxgate.runtime import logs, tasks
from voxgate.runtime.exit import end_process
from voxgate.server.lifeline import Lifeline
from voxgate.server.peers import Peers
from voxgate.server.server import Server, listen_for
from voxgate.service.host_counts import HostCounts
from voxgate.service.service import Service

logger = logging.getLogger(__name__)


def main(config: Config, number: int, directory: str, socket_fd: int, is_replacement: bool) -> NoReturn:
    """Serves until SIGTERM, or until the supervisor is gone. Never returns.

    `directory`: of the sockets of `Peers`. `socket_fd`: the end of the lifeline. `is_replacement`: the process listens
    only when the model is warm, because the other processes accept clients until then.
    """
    signal.signal(signal.SIGINT, lambda *_: None)  # a terminal's Ctrl-C reaches the supervisor too, which decides
    os.set_inheritable(socket_fd, False)
    lifeline = Lifeline(socket.socket(fileno=socket_fd), config.server.hang_timeout_s)
    tasks.spawn_thread(
        lambda: _end_with_supervisor(lifeline, directory), "voxgate-lifeline", daemon=True, subsystem="serving"
    )
    logs.setup(config.server.log_level, config.server.log_format)
    code = 0
    try:
        _serve(config, number, directory, lifeline, is_replacement)
    except ConfigError as error:
        lifeline.report(str(error))
        code = 2
    except BaseException:
        logger.exception("the server process failed")
        code = 1
    end_process(code)


def _serve(config: Config, number: int, directory: str, lifeline: Lifeline, is_replacement: bool) -> None:
    service = Service(config)
    service.metrics.worker = str(number)
    peers = Peers(Path(directory), number, config.server.workers, service.metrics.snapshot)
    service.metrics.peers = peers.fetch
    if config.limits.scope == "host":
        path = Path(directory) / "streams"
        service.admission.host = HostCounts(path, number, config.server.workers, config.limits.streams)
    failure: BaseException | None = None

    def started(error: BaseException | None) -> None:
        if error is not None:
            fail(error)
        else:
            tasks.spawn_task(ready(), "worker-ready", "serving")

    def fail(error: BaseException) -> None:
        nonlocal failure
        failure = error
        server.ask_to_end()

    async def ready() -> None:
        try:
            await peers.start()
            if is_replacement:
                await server.open_grpc()
                await server.open(listen_for(service, shared=True))
        except (OSError, ConfigError) as error:
            fail(ConfigError(f"server process {number} cannot serve: {error}"))  # it ends, and is replaced
        else:
            lifeline.report(None)
            tasks.spawn_task(lifeline.run(), "worker-lifeline", "serving")

    server = Server(service, started, owns_process=True, is_worker=True)
    server.run(sockets=[] if is_replacement else listen_for(service, shared=True))
    peers.close()
    if failure is not None:
        raise failure


def _end_with_supervisor(lifeline: Lifeline, directory: str) -> None:
    """Without a supervisor nothing replaces, drains or ends this process."""
    lifeline.wait_closed()
    shutil.rmtree(directory, ignore_errors=True)  # no other process is left that would do it
    end_process(1)
