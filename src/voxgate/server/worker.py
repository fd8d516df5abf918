"""One of several server processes: a whole server, which a supervisor starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import shutil
import signal
import socket
from pathlib import Path
from typing import NoReturn

from voxgate.config import Config
from voxgate.errors import ConfigError
from voxgate.runtime import logs, tasks
from voxgate.server.peers import Peers
from voxgate.server.server import Server, end_process, listen_for
from voxgate.service.service import Service

logger = logging.getLogger(__name__)

BEATS = 5
"""In the time after which the supervisor would take this process for hung."""


def main(config: Config, number: int, directory: str, socket_fd: int, is_replacement: bool) -> NoReturn:
    """Serves until SIGTERM, or until the supervisor is gone. Never returns.

    `socket_fd`: the line to the supervisor, which is told once whether this process serves. `is_replacement`: clients
    are let in only when the model is warm, because other processes have room for them until then.
    """
    signal.signal(signal.SIGINT, lambda *_: None)  # a terminal's Ctrl-C: the supervisor has heard it too
    os.set_inheritable(socket_fd, False)
    line = socket.socket(fileno=socket_fd)
    heart = Heart(line, config.server.hang_timeout_s)
    tasks.spawn_thread(lambda: _end_with(line, directory, heart), "voxgate-lifeline", daemon=True, subsystem="serving")
    logs.setup(config.server.log_level, config.server.log_format)
    code = 0
    try:
        _serve(config, number, directory, line, heart, is_replacement)
    except ConfigError as error:
        _tell(line, failed=str(error))
        code = 2
    except BaseException:
        logger.exception("the server process failed")
        code = 1
    end_process(code)


class Heart:
    """Shows the supervisor that this process does not hang: while it loads the model, that any of its threads runs, and
    from then on that its event loop does.
    """

    def __init__(self, line: socket.socket, hang_timeout_s: float) -> None:
        """`hang_timeout_s`: the supervisor's patience; 0: endless, and nothing is shown."""
        self._line = line
        self.interval_s = hang_timeout_s / BEATS if hang_timeout_s else None
        self.is_loading = True

    def beat(self) -> None:
        """Never waits: a supervisor that is stopped reads nothing."""
        with contextlib.suppress(OSError):
            self._line.send(b"\n", socket.MSG_DONTWAIT)

    async def run(self) -> None:
        self.is_loading = False
        while self.interval_s is not None:
            self.beat()
            await asyncio.sleep(self.interval_s)


def _serve(
    config: Config, number: int, directory: str, line: socket.socket, heart: Heart, is_replacement: bool
) -> None:
    service = Service(config)
    service.metrics.worker = str(number)
    peers = Peers(Path(directory), number, config.server.workers, service.metrics.snapshot)
    service.metrics.peers = peers.fetch
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
                await server.open(listen_for(service, shared=True))
        except (OSError, ConfigError) as error:
            fail(ConfigError(f"server process {number} cannot serve: {error}"))  # and not stay, and serve nobody
        else:
            _tell(line, failed=None)
            tasks.spawn_task(heart.run(), "worker-heart", "serving")

    server = Server(service, started, owns_process=True, is_worker=True)
    server.run(sockets=[] if is_replacement else listen_for(service, shared=True))
    peers.close()
    if failure is not None:
        raise failure


def _tell(line: socket.socket, failed: str | None) -> None:
    line.sendall(json.dumps({"failed": failed}).encode() + b"\n")


def _end_with(line: socket.socket, directory: str, heart: Heart) -> None:
    """Nobody replaces, drains or ends a process whose supervisor is gone."""
    poller = select.poll()
    poller.register(line, 0)  # nothing but the hang-up, which is always reported
    while not poller.poll(heart.interval_s * 1000 if heart.interval_s is not None and heart.is_loading else None):
        heart.beat()
    shutil.rmtree(directory, ignore_errors=True)  # nobody else is left to do it
    end_process(1)
