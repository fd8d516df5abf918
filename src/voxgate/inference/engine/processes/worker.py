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
from voxgate.inference.engine.interims import NO_INTERIMS, Interims
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.processes.arena import map_batch
from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.messages import (
    Answer,
    Drop,
    Loaded,
    Prepare,
    Quit,
    Refused,
    Run,
    StateCall,
    Trial,
    Warm,
)
from voxgate.inference.engine.processes.outcomes import RefusedCall, encode_outcome
from voxgate.inference.engine.processes.remote_log import RemoteLog
from voxgate.inference.engine.processes.worker_calls import ChannelInterims, Inbox, KeptStates
from voxgate.inference.engine.trial import try_model
from voxgate.models.adapter import declares_text
from voxgate.models.base import Batch, Model, Samples
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
        if model.asynchronous:
            raise ConfigError(
                f"model {spec!r}: it is async def, and a worker process makes one call at a time: expected"
                " inference.engine = 'async' or 'auto'"
            )
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
            model.stateless,
            session_options.schema,
            bool(model.mixes_options),
            declares_text(model),
        )
    )
    failures = FailureLog(logger)
    invoker = Invoker(model, failures)
    arena: mmap.mmap | None = None
    inbox, states = Inbox(channel), KeptStates()
    while True:
        message = inbox.next()
        if isinstance(message, Drop):
            states.drop(message)  # The server reads no log meanwhile.
            continue
        log.resume()
        match message:
            case Run(lengths, requests):
                if arena is None:
                    raise AssertionError("a batch came before the arena")
                batch = map_batch(arena, lengths)
                interims = ChannelInterims(channel, inbox, message.number, message.sends_partials)
                if message.state_call is None:
                    answer = _answer(invoker, batch, requests, session_options, interims)
                else:
                    answer = _step(invoker, batch[0], message.state_call, states, requests[0], session_options)
                log.defer()
                channel.send(answer)
            case Trial(n_items):
                answer = _try(model, failures, n_items)
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


def _try(model: Model, failures: FailureLog, n_items: int) -> Answer:
    outcomes, bad_results = try_model(model, failures, n_items)
    return Answer([encode_outcome(outcome) for outcome in outcomes], False, bad_results)


def _step(
    invoker: Invoker, audio: Samples, call: StateCall, states: KeptStates, request: Request, options: SessionOptions
) -> Answer:
    state = states.of(call)  # No frame that waits for messages refers to it: it is freed as soon as it is dropped.
    try:
        request = replace(request, options=options.parse(request.options))
    except InvalidStart as error:  # As in `_answer`.
        return Answer([RefusedCall(str(error))], False, opened=state.opened)
    outcome = invoker.call(call.method, audio, state, request)
    return Answer([encode_outcome(outcome)], False, opened=state.opened)


def _answer(
    invoker: Invoker,
    batch: Batch,
    requests: Sequence[Request],
    options: SessionOptions,
    interims: Interims = NO_INTERIMS,
) -> Answer:
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
        invocation = invoker.invoke(batch, None, interims)
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
