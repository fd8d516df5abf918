"""The log of a worker process, which the server writes."""

from __future__ import annotations

import contextlib
import logging
from collections import deque

from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.messages import Record

__all__ = ["RemoteLog", "write_record"]

_MAX_DEFERRED = 1000


class RemoteLog(logging.Handler):
    """The worker's side: sends log records to the server. During a call, while the server reads the channel, it sends
    them at once, and otherwise with the next call; it keeps the last thousand of those.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._is_live = False
        self._deferred: deque[Record] = deque(maxlen=_MAX_DEFERRED)

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        try:
            stack = "" if not record.exc_info else logging.Formatter().formatException(record.exc_info)
            message = Record(record.name, record.levelno, record.getMessage(), stack or record.exc_text or "")
        except Exception:
            self.handleError(record)
            return
        if self._is_live:
            self._send(message)
        else:
            self._deferred.append(message)

    def resume(self) -> None:
        """The server reads the channel from now on."""
        with self.lock:  # type: ignore[union-attr]  # made by the base class
            self._is_live = True
            while self._deferred:
                self._send(self._deferred.popleft())

    def defer(self) -> None:
        """The server may not read the channel from now on, and a full socket would block the thread that logs."""
        with self.lock:  # type: ignore[union-attr]
            self._is_live = False

    def _send(self, message: Record) -> None:
        with contextlib.suppress(ChannelClosed, UnicodeError):
            self._channel.send(message)


def write_record(record: Record, pid: int) -> None:
    """The server's side: gives a record of the worker process `pid` to the logger of the same name. Any thread."""
    logger = logging.getLogger(record.logger)
    if not logger.isEnabledFor(record.level):
        return
    fields = {
        "name": record.logger,
        "levelno": record.level,
        "levelname": logging.getLevelName(record.level),
        "msg": record.text,
        "args": None,
        "exc_text": record.stack or None,
        "process": pid,
        "processName": "voxgate-worker",
    }
    logger.handle(logging.makeLogRecord(fields))
