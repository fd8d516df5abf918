"""The format of log lines, the session and the trace of each line, and the limit for lines of one kind.

Code that works for a session has its :class:`LogContext` in `current`; every record takes its session and trace from
there. :func:`setup` chooses one format for the whole process: text for people, or JSON objects.

A log never contains audio, results or tokens. The exceptions of a model are logged with their stack and their text: a
model that puts its results into an exception puts them into the log.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TextIO

from voxgate.runtime.counted import counted
from voxgate.runtime.log_writer import LogWriter
from voxgate.runtime.tasks import spawn_thread
from voxgate.runtime.throttle import Throttle

__all__ = [
    "Handler",
    "HumanFormatter",
    "JsonFormatter",
    "LogContext",
    "RateLimit",
    "about",
    "current",
    "setup",
]

_MESSAGE_CHARACTERS = 16_384
_STACK_CHARACTERS = 65_536
_LAST_LINES_S = 1.0
"""At its end the process waits this long for the reader of the log."""
_CONTEXTS = 16
"""The number of sessions named in a line about a batch."""


@dataclass(slots=True, eq=False)
class LogContext:
    """The session and the trace of log lines. One for each connection, which updates it for each of its sessions."""

    session: str | None = None
    trace: str | None = None
    """The W3C trace id."""


current: Final[contextvars.ContextVar[tuple[LogContext, ...]]] = contextvars.ContextVar("voxgate_log", default=())
"""The sessions for which this task, callback or thread works now; several when it runs a batch."""


@contextmanager
def about(context: LogContext) -> Iterator[None]:
    """Log lines of the `with` block carry `context`."""
    token = current.set((context,))
    try:
        yield
    finally:
        current.reset(token)


def _ids(record: logging.LogRecord) -> tuple[list[str], list[str]]:
    """Sessions and traces of a record. Called in the thread that logs."""
    sessions: list[str] = []
    traces: list[str] = []
    for context in current.get()[:_CONTEXTS]:
        if context.session is not None and context.session not in sessions:
            sessions.append(context.session)
        if context.trace is not None and context.trace not in traces:
            traces.append(context.trace)
    return sessions, traces


def _stack(record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    parts = [record.exc_text, record.stack_info]
    return _cut("\n".join(part for part in parts if part), _STACK_CHARACTERS)


def _cut(text: str, n_characters: int) -> str:
    return text if len(text) <= n_characters else f"{text[:n_characters]}... ({len(text)} characters)"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message; session, trace and exception if there are any; and
    the record's own `fields`.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage(), _MESSAGE_CHARACTERS),
        }
        for name, ids in zip(("session", "trace"), _ids(record), strict=True):
            if ids:
                line[name] = ids[0] if len(ids) == 1 else ids
        line.update(getattr(record, "fields", {}))
        if stack := _stack(record):
            line["exception"] = stack
        return json.dumps(line, default=str)


_COLOURS: Final = {
    logging.DEBUG: "\x1b[2m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"
# A line may contain text of a client, which must not start a new line or send commands to the terminal.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_SHORT: Final = 8


class HumanFormatter(logging.Formatter):
    """Time, level, logger, message, and the first digits of session and trace; a stack follows on its own lines."""

    def __init__(self, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = self._paint(_COLOURS.get(record.levelno, ""), f"{record.levelname:<7}")
        message = _cut(record.getMessage(), _MESSAGE_CHARACTERS).translate(_CONTROLS)
        line = f"{when}.{int(record.msecs):03d} {level} {record.name}: {message}"
        line += "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        ids_of = [
            f"{name} {' '.join(id[:_SHORT] for id in ids)}"
            for name, ids in zip(("session", "trace"), _ids(record), strict=True)
            if ids
        ]
        if ids_of:
            line += " " + self._paint(_DIM, f"[{', '.join(ids_of)}]")
        stack = _stack(record)
        return f"{line}\n{stack}" if stack else line

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured and colour else text


_DIRECTIVE = re.compile(r"%(\(\w+\))?[-#0 +]*[\d*]*(\.[\d*]+)?[a-zA-Z%]")


class RateLimit:
    """Admits the first `burst` records of a kind in each interval, counts the others, and summarizes them at its end.

    Records of one kind have the same logger, level and template and, if they carry an exception, the same place where
    it was raised. Beyond `max_kinds` the oldest kind is summarized early. A record may have its own `burst`.
    """

    def __init__(
        self,
        burst: int = 5,
        interval_s: float = 60.0,
        max_kinds: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._throttle = Throttle(interval_s, burst, max_kinds, clock)

    def admit(self, record: logging.LogRecord) -> bool:
        """True when `record` is to be written. Call `due` first, so that intervals that are over end with a summary."""
        # Voxgate's loggers report what clients cause at INFO; of other loggers only warnings and errors are limited.
        floor = logging.INFO if record.name.startswith("voxgate") else logging.WARNING
        if record.levelno < floor:
            return True
        # Stores only what a summary contains: the record's stack would keep all objects of its frames alive.
        like = _Like(record.name, record.levelno, record.levelname, _cut(record.getMessage(), 200))
        return self._throttle.admit(_kind(record), like, getattr(record, "burst", None)) is not None

    def due(self) -> list[logging.LogRecord]:
        """Summaries of the intervals that are over, and of the kinds beyond `max_kinds`."""
        return [_summary(*left_out) for left_out in self._throttle.over()]

    def rest(self) -> list[logging.LogRecord]:
        """Summaries of all intervals, at the end of the process."""
        return [_summary(*left_out) for left_out in self._throttle.rest()]

    @property
    def next_s(self) -> float | None:
        """Seconds until a summary is due; None when there will be none."""
        return self._throttle.next_s


class _Like(NamedTuple):
    name: str
    levelno: int
    levelname: str
    text: str


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    template = record.msg if isinstance(record.msg, str) else type(record.msg).__qualname__
    if not re.search(r"\w", _DIRECTIVE.sub("", template)):  # a template without words of its own
        template = record.getMessage()[:200]
    place: tuple[object, ...] = ()
    if record.exc_info and (trace := record.exc_info[2]) is not None:
        while trace.tb_next is not None:
            trace = trace.tb_next
        place = (record.exc_info[0], trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return (record.name, record.levelno, template, *place)


def _summary(like: _Like, n_lines: int, during_s: float) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": like.name,
            "levelno": like.levelno,
            "levelname": like.levelname,
            "msg": "%s in %.0f s like: %s",
            "args": (counted(n_lines, "more line"), during_s, like.text),
        }
    )


class Handler(logging.StreamHandler[LogWriter]):
    """Writes to a stream through a rate limit and a `LogWriter`. A thread writes the summaries while any are due."""

    def __init__(self, stream: TextIO, limit: RateLimit | None = None) -> None:
        super().__init__(LogWriter(stream, self._lost))
        self._limit = limit or RateLimit()
        self._summing = False
        self._ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        try:
            self._write(self._limit.due())
            if self._limit.admit(record):
                super().emit(record)
            elif not self._summing:
                self._summing = True
                try:
                    spawn_thread(self._sum_up, "voxgate-log-summaries", daemon=True, subsystem="logs")
                except RuntimeError:  # no room for another thread: the next line that is left out tries again
                    self._summing = False
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Writes the remaining summaries, and waits for the reader of the log."""
        self._ended.set()
        with self.lock:  # type: ignore[union-attr]  # made by the base class
            self._write(self._limit.rest())
        self.stream.drain(_LAST_LINES_S)
        super().close()

    def _lost(self, n_lines: int) -> str:
        text = f"lost {counted(n_lines, 'log line')} here: the reader of the log was too slow"
        fields = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text, "args": ()}
        token = current.set(())
        try:
            return self.format(logging.makeLogRecord(fields)) + self.terminator
        finally:
            current.reset(token)

    def _write(self, records: Iterable[logging.LogRecord]) -> None:
        token = current.set(())  # a summary has no session
        try:
            for record in records:
                super().emit(record)
        finally:
            current.reset(token)

    def _sum_up(self) -> None:
        while True:
            with self.lock:  # type: ignore[union-attr]
                self._write(self._limit.due())
                wait_s = self._limit.next_s
                if wait_s is None or self._ended.is_set():
                    self._summing = False
                    return
            self._ended.wait(wait_s)


def setup(
    level: str, format: str = "auto", stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> Handler:
    """Sends all log records of this process to `stream` (default: standard error) in one format; returns the handler.

    `format`: `human`, `json`, or `auto`, which is `human` on a terminal and `json` otherwise. Text on a terminal is
    coloured unless NO_COLOR is set.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    handler = Handler(stream)
    if format == "json" or (format == "auto" and not terminal):
        handler.setFormatter(JsonFormatter())
    else:
        coloured = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        handler.setFormatter(HumanFormatter(coloured))
    for old in [old for old in logging.root.handlers if isinstance(old, Handler)]:
        logging.root.removeHandler(old)
        old.close()
    logging.root.addHandler(handler)
    logging.root.setLevel(level.upper())
    logging.captureWarnings(True)
    # At lower levels uvicorn logs every connection, with the query of its URL.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.root.level))
    # A line for each request, and headers at the level debug.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    return handler
