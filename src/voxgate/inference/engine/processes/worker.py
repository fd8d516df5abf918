"""The main function of a worker process: one model, one call at a time, and a socket to the server that started it.

The server alone decides when the process ends. The process ignores signals that are meant for the server (Ctrl-C
reaches the whole terminal, a service manager's SIGTERM all processes of the service): the server lets running calls end
and then sends Quit. When the server dies, however it does, the worker exits at once.
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
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from msgspec.structs import replace

from voxgate.errors import ConfigError, InvalidStart, ModelLoadError, text_of
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.processes.arena import map_batch
from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.messages import Answer, Loaded, Prepare, Quit, Refused, Run, Trial, Warm
from voxgate.inference.engine.processes.outcomes import RefusedCall, encode_outcome
from voxgate.inference.engine.processes.remote_log import RemoteLog
from voxgate.inference.engine.trial import trial_batch, trial_request
from voxgate.models.adapter import declares_text
from voxgate.models.base import Batch, Model
from voxgate.models.loader import load_model
from voxgate.models.request import Request
from voxgate.models.session_options import SessionOptions
from voxgate.runtime.tasks import spawn_thread

__all__ = ["main"]

logger = logging.getLogger("voxgate.inference.engine")

_PR_SET_PDEATHSIG = 1


def main(
    spec: str, options: Mapping[str, Any], socket_fd: int, arena_fd: int, parent_pid: int, log_levels: Mapping[str, int]
) -> NoReturn:
    """Loads the model and serves it until the server sends Quit or dies. Never returns.

    log_levels: the lowest levels that are sent to the server, by logger (``""`` is the root).
    """
    _ignore_signals(parent_pid)
    os.set_inheritable(socket_fd, False)  # A model's own children must not keep the channel open.
    os.set_inheritable(arena_fd, False)
    sock = socket.socket(fileno=socket_fd)
    channel = Channel(sock)
    log = RemoteLog(channel)
    logging.root.addHandler(log)
    for name, level in log_levels.items():
        logging.getLogger(name).setLevel(level)
    spawn_thread(lambda: _exit_with(sock), "voxgate-worker-lifeline", daemon=True, subsystem="engine")
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
    os._exit(status)  # Not sys.exit: threads that the model left behind must not keep the process alive.


def _serve(channel: Channel, log: RemoteLog, spec: str, options: Mapping[str, Any], arena_fd: int) -> None:
    log.resume()
    try:
        model = load_model(spec, options)
        session_options = SessionOptions(model)
    except ConfigError as error:
        channel.send(Refused(text_of(error)))
        return
    log.defer()
    channel.send(
        Loaded(
            model.name,
            model.sample_rate,
            model.threads,
            bool(model.holds_gil),
            model.batches,
            model.stateful,
            session_options.schema,
            bool(model.mixes_options),
            declares_text(model),
        )
    )
    failures = FailureLog(logger)
    invoker = Invoker(model, failures)
    arena: mmap.mmap | None = None
    while True:
        message = channel.receive()
        log.resume()
        match message:
            case Run(lengths, requests):
                if arena is None:
                    raise AssertionError("a batch came before the arena")
                answer = _answer(invoker, map_batch(arena, lengths), requests, session_options)
                log.defer()
                channel.send(answer)
            case Trial(n_items):
                answer = _try(model, failures, n_items, session_options)
                log.defer()
                channel.send(answer)
            case Prepare(arena_bytes, warm_up):
                arena = mmap.mmap(arena_fd, arena_bytes)
                if warm_up:
                    try:
                        invoker.warm_up()
                    except ModelLoadError as error:
                        logger.debug("warm-up of model %r failed", model.name, exc_info=error.__cause__)
                        channel.send(Refused(str(error)))
                        return
                log.defer()
                channel.send(Warm())
            case Quit():
                invoker.close()
                return
            case _:
                raise AssertionError(f"{type(message).__name__} is no message of the server")


def _try(model: Model, failures: FailureLog, n_items: int, options: SessionOptions) -> Answer:
    request = trial_request(options, model.sample_rate)
    if request is None:
        return Answer([], False)
    bad_results: list[str] = []
    invoker = Invoker(model, failures, bad_results.append)
    invocation = invoker.invoke(trial_batch(n_items, model.sample_rate, request))
    return Answer([encode_outcome(outcome) for outcome in invocation.outcomes], invocation.retried, bad_results)


def _answer(invoker: Invoker, batch: Batch, requests: Sequence[Request], options: SessionOptions) -> Answer:
    """The model gets a copy of a batch of several: it may change that, and a second try needs the original."""
    try:
        batch.requests = [replace(request, options=options.parse(request.options)) for request in requests]
    except InvalidStart as error:  # The class itself refuses what its schema, which the server checked, allows.
        if len(batch) == 1:
            return Answer([RefusedCall(str(error))], False)
        alone = [
            _answer(
                invoker, Batch(batch.audio[i : i + 1, : batch.lengths[i]], batch.lengths[i : i + 1]), [one], options
            )
            for i, one in enumerate(requests)
        ]
        return Answer([answer.outcomes[0] for answer in alone], True)
    if len(batch) == 1:
        invocation = invoker.invoke(batch)
    else:
        copy = Batch(batch.audio.copy(), batch.lengths.copy(), batch.requests)
        invocation = invoker.invoke(copy, batch.__getitem__)
    return Answer([encode_outcome(outcome) for outcome in invocation.outcomes], invocation.retried)


def _ignore_signals(parent_pid: int) -> None:
    """Only the server decides when this process ends. Also sees to it that it never outlives the server."""

    def ignore(number: int, frame: object) -> None:
        pass  # A handler, not SIG_IGN: programs that the model starts must not inherit it.

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


def _exit_with(sock: socket.socket) -> None:
    """Ends the process when the server closes its end of the channel, even while the model runs."""
    poller = select.poll()
    poller.register(sock, 0)  # Nothing but the hang-up, which is always reported.
    poller.poll()
    os._exit(1)
