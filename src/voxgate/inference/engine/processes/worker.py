"""The main function of a worker process: one model, one call at a time, and a socket to the server that started it.

The server lets running calls end and then sends Quit; :mod:`.guarded_child` says what else ends it.
"""

from __future__ import annotations

import logging
import mmap
import os
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from voxgate.errors import ConfigError, ModelLoadError, text_of
from voxgate.inference.engine.failures import FailureLog
from voxgate.inference.engine.invoker import Invoker
from voxgate.inference.engine.processes.answers import answer_batch, answer_step, describe
from voxgate.inference.engine.processes.arena import map_batch
from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.guarded_child import enter, leave
from voxgate.inference.engine.processes.messages import (
    Answer,
    Drop,
    Message,
    Prepare,
    Quit,
    Refused,
    Run,
    Trial,
    Warm,
)
from voxgate.inference.engine.processes.outcomes import encode_outcome
from voxgate.inference.engine.processes.remote_log import RemoteLog
from voxgate.inference.engine.processes.worker_calls import ChannelInterims, Inbox, KeptStates
from voxgate.inference.engine.trial import try_model
from voxgate.models.base import Model
from voxgate.models.loader import load_model
from voxgate.models.session_options import SessionOptions

__all__ = ["main"]

logger = logging.getLogger("voxgate.inference.engine")


def main(
    spec: str, options: Mapping[str, Any], socket_fd: int, arena_fd: int, parent_pid: int, log_levels: Mapping[str, int]
) -> NoReturn:
    """Loads the model and serves it until the server sends Quit or dies. Never returns.

    log_levels: the lowest levels that are sent to the server, by logger (``""`` is the root).
    """
    channel, log = enter(socket_fd, parent_pid, log_levels, Message)
    os.set_inheritable(arena_fd, False)
    try:
        _serve(channel, log, spec, options, arena_fd)
        status = 0
    except ChannelClosed:
        status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    leave(status)


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
    channel.send(describe(model, session_options))
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
                    answer = answer_batch(invoker, batch, requests, session_options, interims)
                else:
                    answer = answer_step(
                        invoker,
                        message.state_call.method,
                        batch[0],
                        states.of(message.state_call),
                        requests[0],
                        session_options,
                    )
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
