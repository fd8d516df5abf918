"""What runs in a worker process: one model, one call at a time, and a socket to the server that started it.

The process obeys its server alone. Signals meant for the server (Ctrl-C reaches the whole terminal, a service manager's
SIGTERM all processes of the service) are ignored: the server lets running calls end and then says so. When the server
is gone, however it went, the worker ends at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import mmap
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import msgspec
from msgspec import Raw

from voxgate.errors import ConfigError, InferenceError, InternalError, VoxgateError, text_of
from voxgate.inference.engine.arena import map_batch
from voxgate.inference.engine.base import Outcome
from voxgate.inference.engine.channel import (
    Answer,
    Channel,
    ChannelClosed,
    Loaded,
    Prepare,
    Quit,
    Record,
    Refused,
    Run,
    Trial,
    Warm,
    plain,
)
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.trial import faint_noise
from voxgate.models.base import Batch, Model
from voxgate.models.loader import explained, load_model
from voxgate.runtime.tasks import spawn_thread

__all__ = ["decode_outcome", "encode_outcome", "main"]

logger = logging.getLogger("voxgate.inference.engine")

_MOST_RECORDS = 1000
_INTERNAL = "Internal server error"
_PR_SET_PDEATHSIG = 1


def main(
    spec: str, options: Mapping[str, Any], socket_fd: int, arena_fd: int, parent_pid: int, log_levels: Mapping[str, int]
) -> NoReturn:
    """Loads the model and serves it until the server says Quit or is gone. Never returns.

    log_levels: the least levels that are sent, by logger (``""`` is the root).
    """
    _obey_only_the_server(parent_pid)
    os.set_inheritable(socket_fd, False)  # A model's own children must not keep the channel open.
    os.set_inheritable(arena_fd, False)
    sock = socket.socket(fileno=socket_fd)
    channel = Channel(sock)
    log = _SentLog(channel)
    logging.root.addHandler(log)
    for name, level in log_levels.items():
        logging.getLogger(name).setLevel(level)
    spawn_thread(lambda: _end_with(sock), "voxgate-worker-lifeline", daemon=True, subsystem="engine")
    try:
        _serve(channel, log, spec, options, arena_fd)
        status = 0
    except ChannelClosed:
        status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)  # Not sys.exit: threads which the model left behind must not keep the process.


def _serve(channel: Channel, log: _SentLog, spec: str, options: Mapping[str, Any], arena_fd: int) -> None:
    log.live()
    try:
        model = load_model(spec, options)
    except ConfigError as error:
        channel.send(Refused(text_of(error)))
        return
    log.hold()
    channel.send(
        Loaded(model.name, model.sample_rate, model.threads, bool(model.holds_gil), model.batches, model.stateful)
    )
    invoker = Invoker(model, FailureLog(logger))
    arena: mmap.mmap | None = None
    while True:
        message = channel.receive()
        log.live()
        match message:
            case Run(lengths):
                if arena is None:
                    raise AssertionError("a batch came before the arena")
                answer = _answer(invoker, map_batch(arena, lengths))
                log.hold()
                channel.send(answer)
            case Trial(n_items):
                answer = _answer(invoker, Batch.gather([faint_noise(model.sample_rate)] * n_items))
                log.hold()
                channel.send(answer)
            case Prepare(arena_bytes, warm_up):
                arena = mmap.mmap(arena_fd, arena_bytes)
                if warm_up and (refused := _warm_up(model)):
                    channel.send(refused)
                    return
                log.hold()
                channel.send(Warm())
            case Quit():
                _close(model)
                return
            case _:
                raise AssertionError(f"the server does not say {type(message).__name__}")


def _answer(invoker: Invoker, batch: Batch) -> Answer:
    """A batch of several is handed over as a copy: it may be changed, and is wanted again if the call fails."""
    if len(batch) == 1:
        invocation = invoker.invoke(batch)
    else:
        invocation = invoker.invoke(Batch(batch.audio.copy(), batch.lengths.copy()), batch.__getitem__)
    return Answer([encode_outcome(outcome) for outcome in invocation.outcomes], invocation.retried)


def _warm_up(model: Model) -> Refused | None:
    try:
        model.warm_up()
    except (Exception, SystemExit) as error:
        logger.debug("warm-up of model %r failed", model.name, exc_info=error)
        return Refused(f"warm-up of model {model.name!r} failed: {explained(error)}")
    return None


def _close(model: Model) -> None:
    try:
        model.close()
    except (Exception, SystemExit) as error:
        logger.error("closing model %r failed", model.name, exc_info=error)


# --- outcomes ---

_RESULT, _REFUSED, _FAILED = 0, 1, 2
_encoder = msgspec.msgpack.Encoder(enc_hook=plain)
_decoder: msgspec.msgpack.Decoder[tuple[Literal[0, 1, 2], Any]] = msgspec.msgpack.Decoder(tuple[Literal[0, 1, 2], Any])


def encode_outcome(outcome: Outcome) -> Raw:
    """One outcome as it crosses. A result that MessagePack cannot say becomes an internal error, which is logged."""
    if isinstance(outcome, VoxgateError):
        kind = _REFUSED if isinstance(outcome, InferenceError) else _FAILED
        return Raw(_encoder.encode((kind, str(outcome))))
    try:
        return Raw(_encoder.encode((_RESULT, outcome)))
    except BaseException as error:  # Values of a model's own classes are asked for theirs, and may raise anything.
        logger.error("a model's result cannot leave its worker process: %s", text_of(error))
        return Raw(_encoder.encode((_FAILED, _INTERNAL)))


def decode_outcome(raw: Raw) -> Outcome:
    """What `encode_outcome` said. Never raises: what cannot be read is an internal error, which is logged."""
    try:
        kind, value = _decoder.decode(raw)
        if kind == _RESULT and (value is None or isinstance(value, dict)):
            return value
        if kind == _REFUSED:
            return InferenceError(value)
        if kind == _FAILED:
            return InternalError(value)
    except Exception as error:
        logger.error("the result of a worker process cannot be read: %s", error)
    return InternalError(_INTERNAL)


# --- the process ---


def _obey_only_the_server(parent_pid: int) -> None:
    def ignore(number: int, frame: object) -> None:
        pass  # A handler, not SIG_IGN: programs that the model starts must not inherit deafness.

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)
        signal.siginterrupt(number, False)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        faulthandler.enable()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("300")  # When memory runs out, the kernel takes a worker before the server.
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # The lifeline does the same, unless the GIL is held.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def _end_with(sock: socket.socket) -> None:
    """Ends the process when the server's end of the channel is closed, even while the model runs."""
    poller = select.poll()
    poller.register(sock, 0)  # Nothing but the hang-up, which is always reported.
    poller.poll()
    os._exit(1)


class _SentLog(logging.Handler):
    """Sends log records to the server: at once while it listens, that is during a call, and otherwise with the next
    call. Of those that wait, the last thousand are kept.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._listening = False
        self._waiting: deque[Record] = deque(maxlen=_MOST_RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        try:
            stack = "" if not record.exc_info else logging.Formatter().formatException(record.exc_info)
            sent = Record(record.name, record.levelno, record.getMessage(), stack or record.exc_text or "")
        except Exception:
            self.handleError(record)
            return
        if self._listening:
            self._send(sent)
        else:
            self._waiting.append(sent)

    def live(self) -> None:
        with self.lock:  # type: ignore[union-attr]  # made by the base class
            self._listening = True
            while self._waiting:
                self._send(self._waiting.popleft())

    def hold(self) -> None:
        """From now on the server may not be listening, and a full socket would block whoever logs."""
        with self.lock:  # type: ignore[union-attr]
            self._listening = False

    def _send(self, record: Record) -> None:
        with contextlib.suppress(ChannelClosed, UnicodeError):
            self._channel.send(record)
