"""A guarded process that returns what it gets."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping

from voxgate.inference.engine.processes.channel import ChannelClosed
from voxgate.inference.engine.processes.guarded_child import enter, ignore_signals, leave


def main(status: int, socket_fd: int, parent_pid: int, log_levels: Mapping[str, int]) -> None:
    channel, log = enter(socket_fd, parent_pid, log_levels, dict)
    log.resume()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ignore_signals()
    logging.getLogger("voxgate.echo").warning("it runs")
    try:
        while (message := channel.receive())["say"] != "quit":
            channel.send({**message, "pid": os.getpid()})
    except ChannelClosed:
        pass
    leave(status)
