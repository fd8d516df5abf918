"""One client: reads its messages, feeds its sessions, writes the replies.

Live audio is handled where it is read: no task and no queue stands between the socket and the detector. Only what has
to wait goes another way, through the *inbox*, worked off by a task that exists while something is in it: starting and
finishing a session (its results are awaited), audio while the model is behind, and messages too long for one turn of
the event loop. Meanwhile reading goes on, up to a bound: so a leaving client is noticed, and pings are answered. Past
the bound reading pauses, and TCP holds the client back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import UNSET

from voxgate.errors import InternalError, StreamTimeout, VoxgateError
from voxgate.observe.metrics import outcome_of
from voxgate.protocol.events import Draining, Error, Event, Finished, Progress, Segment, Started
from voxgate.protocol.json_codec import encode_event
from voxgate.protocol.machine import (
    Action,
    Audio,
    CheckToken,
    Close,
    FinishSession,
    Flush,
    OpenSession,
    Reply,
    SessionMachine,
)
from voxgate.protocol.requests import Start
from voxgate.runtime import logs, tasks
from voxgate.runtime.logs import LogContext
from voxgate.service.audio_budget import Allowance
from voxgate.session.record import UNKNOWN_CLIENT, ClientInfo, Outcome, SessionRecord
from voxgate.session.routes import FEED_SLICE_S, Route, RouteHandler, open_route
from voxgate.session.send_queue import SendQueue, Sink, utf8_bytes

if TYPE_CHECKING:
    from voxgate.service.service import Service

logger = logging.getLogger(__name__)

INTERNAL_ERROR = "Internal server error"

# Reading pauses when this much waits in the inbox ...
INBOX_BYTES = 64 * 1024
# ... but a socket that nobody reads answers no pings. So a little more is taken in every few seconds, up to a last
# bound, which is reached only while the model makes no progress at all for more than a minute.
READ_ON_S = 4.0
READ_ON_BYTES = 64 * 1024
INBOX_MAX_BYTES = 1024 * 1024
# What a message costs beyond its bytes: a million empty ones are not free.
MESSAGE_BYTES = 64

PROGRESS_S = 1.0

# Audio that seems to have stopped may stand in the socket, when it was our loop that was held; it is read by then.
STALL_SURE_S = 0.05

GOING_AWAY = 1001
BROKEN_RULES = (1002, 1003, 1007, 1009)  # close codes


class Ending(NamedTuple):
    """In the inbox: what stands before it is worked off, the session is finished, and the connection closes."""

    close: Close
    error: VoxgateError | None = None


CheckTokenOf = Callable[[str], Awaitable[VoxgateError | None]]
"""Says why a token is not taken; None: it is good."""


Listener = Callable[[bytes], bool]
"""Takes a binary message at once, or says no: then it comes by `receive`."""


class Transport(Sink, Protocol):
    """The websocket, as a connection sees it."""

    close_code: int
    """That of the client's close frame, or of the one that the websocket itself sent to a client which broke its
    rules; 1005 when it had none, 1006 when there was no frame.
    """
    close_reason: str

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client is gone."""

    def listen(self, listener: Listener | None) -> None:
        """From now on `listener` may be offered binary messages before they come by `receive`, in their order and
        while nothing else is on its way. None: no longer.
        """


class Connection:
    """Serves one websocket from its acceptance to its end: ``await Connection(...).run()``."""

    __slots__ = (
        "_account",
        "_allowance",
        "_caller",
        "_changed",
        "_check_token",
        "_closing",
        "_draining",
        "_fed_s",
        "_heard_s",
        "_inbox",
        "_inbox_allowed_bytes",
        "_inbox_bytes",
        "_life_timer",
        "_limits",
        "_log_context",
        "_loop",
        "_max_owed",
        "_may_ask",
        "_n_finished",
        "_opened_s",
        "_progress_timer",
        "_protocol",
        "_route",
        "_runner",
        "_send_queue",
        "_service",
        "_slice_bytes",
        "_stall_s",
        "_stall_timer",
        "_tally",
        "_timer",
        "_transport",
        "_worker",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        service: Service,
        route: Route,
        check_token: CheckTokenOf | None = None,
        caller: ClientInfo = UNKNOWN_CLIENT,
    ) -> None:
        """`check_token`: asked about the token of the first start; None: no token is due any more."""
        self._transport = transport
        self._service = service
        self._route = route
        self._tally = service.tally
        self._caller = caller
        self._limits = service.config.limits
        # Well below what the scheduler bears: one slice of audio may end several segments of every channel.
        self._max_owed = max(1, service.config.inference.stream_jobs // 2)
        self._check_token = check_token
        self._protocol = SessionMachine(self._limits, service.vad, route, authorized=check_token is None)
        self._runner: RouteHandler | None = None
        self._account: SessionRecord | None = None
        self._log_context = LogContext()
        self._allowance: Allowance | None = None
        self._slice_bytes = 0
        self._opened_s = 0.0  # the session
        self._n_finished = 0  # sessions

        self._inbox: deque[str | bytes | Ending] = deque()
        self._inbox_bytes = 0
        self._inbox_allowed_bytes = INBOX_BYTES
        self._worker: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()  # something that a part of this connection may be waiting for

        self._send_queue = outbox = SendQueue(transport, self._limits, self._tally, self._sent)
        self._may_ask = lambda: not outbox.is_full
        self._closing: Close | None = None

        self._loop = asyncio.get_running_loop()
        self._heard_s = self._fed_s = self._loop.time()  # of any message, and of audio
        self._timer = self._loop.call_later(self._limits.start_timeout_s, self._check_silence)
        self._life_timer = self._loop.call_later(self._limits.session_s, self._end_of_life)
        self._stall_s = service.config.vad.stall_flush_ms / 1000 if route == "segmented" else 0.0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._draining = False

    async def run(self) -> None:
        """Returns when the client is gone or was sent away. Never raises but for cancellation."""
        logs.current.set((self._log_context,))  # of this task, and of all that it starts
        writer = tasks.spawn_task(self._send_queue.write(), "connection-writer", "connection")
        tally = self._tally
        tally.stream_began(self._route)
        gone = False
        self._service.connections.add(self)
        if self._service.draining_until_s is not None:
            self.drain(0)
        self._transport.listen(self._hear)
        try:
            while (message := await self._transport.receive()) is not None:
                self._heard_s = self._loop.time()
                if not self._feed_now(message):
                    self._count(message)
                    self._put_aside(message)
                    if self._inbox_bytes >= self._inbox_allowed_bytes:
                        await self._wait_for_room()
            gone = True
        finally:
            self._transport.listen(None)
            tally.stream_ended(self._route, *self._how_it_ended(gone))
            self._service.connections.discard(self)
            self._timer.cancel()
            self._life_timer.cancel()
            if self._worker is not None:
                self._worker.cancel()
            self._end_session()
            self._send_queue.on_sent = self._changed.set  # otherwise this object would know itself
            if self._closing is None:
                writer.cancel()
            # Otherwise the writer ends by itself: it has the close frame to send, or has sent it.

    def _how_it_ended(self, gone: bool) -> tuple[str, int]:
        """The outcome and the close code. `gone`: the client, with or without a word."""
        if self._closing is not None:
            return outcome_of(self._closing), self._closing.code
        if not gone:
            return "failed", 1006
        code, reason = self._transport.close_code, self._transport.close_reason
        if code in BROKEN_RULES:  # found by the websocket itself, before a message was there
            if code == 1009:
                self._tally.limit_hits.add("message_fragments" if "fragments" in reason else "message_bytes")
            return "invalid", code
        if (code, reason) == (1008, StreamTimeout.code):
            self._tally.limit_hits.add("message_timeout_s")
            return "timeout", code
        done = self._n_finished and self._runner is None and self._worker is None and not self._send_queue
        return "completed" if done else "left", code

    # In

    def _hear(self, data: bytes) -> bool:
        """Audio that comes by the shortcut (`Listener`). With many streams, what it touches has to come from memory
        each time: so it asks for little, and leaves what is not as simple to `_feed_now`.
        """
        runner = self._runner
        self._heard_s = now_s = self._loop.time()
        if (
            runner is None
            or runner.calls
            or self._worker is not None
            or self._closing is not None
            or self._send_queue.texts
            or not 0 < len(data) <= self._slice_bytes
        ):
            with logs.about(self._log_context):  # it runs in no task of ours
                return self._feed_now(data)
        self._fed_s = now_s
        tally = self._tally
        tally.binary_in += 1
        tally.binary_in_bytes += len(data)
        try:
            runner.feed(data)
        except Exception:
            with logs.about(self._log_context):
                self._fail()
        return True

    def _feed_now(self, message: str | bytes) -> bool:
        """The way of nearly every message: audio of an open session, short, with nothing in front of it. False: not
        this one.
        """
        if self._closing is not None:
            self._count(message)
            return True  # nothing is listened to any more
        runner = self._runner
        if (
            self._worker is not None
            or runner is None
            or isinstance(message, str)
            or not 0 < len(message) <= self._slice_bytes
            or not self._protocol.open
            or self._is_behind()
        ):
            return False
        self._fed_s = self._heard_s
        tally = self._tally
        tally.binary_in += 1
        tally.binary_in_bytes += len(message)
        try:
            runner.feed(message)
        except Exception:
            self._fail()
        return True

    def _count(self, message: str | bytes) -> None:
        tally = self._tally
        if isinstance(message, str):
            tally.text_in += 1
            tally.text_in_bytes += utf8_bytes(message)
        else:
            tally.binary_in += 1
            tally.binary_in_bytes += len(message)

    def _put_aside(self, message: str | bytes | Ending) -> None:
        if self._closing is not None:
            return
        self._inbox.append(message)
        self._inbox_bytes += _cost_bytes(message)
        if self._worker is None:
            self._worker = tasks.spawn_task(self._work_off(), "connection-inbox", "connection")

    async def _work_off(self) -> None:
        logs.current.set((self._log_context,))  # whoever put the message there: at the end of the server, the service
        try:
            while self._inbox and self._closing is None:
                message = self._inbox.popleft()
                self._inbox_bytes -= _cost_bytes(message)
                self._changed.set()
                if isinstance(message, Ending):
                    await self._end(message)
                    break
                if self._send_queue.is_full:
                    await self._until(lambda: self._send_queue.has_room)
                if self._closing is not None:
                    break
                for action in self._protocol.receive(message):
                    await self._perform(action)
                    if self._closing is not None:
                        break
                if self._draining and self._runner is None:
                    self.leave()
        except Exception:
            self._fail()
        finally:
            self._worker = None

    async def _wait_for_room(self) -> None:
        read_on_s = self._loop.time() + READ_ON_S
        while self._inbox_bytes >= self._inbox_allowed_bytes and self._closing is None:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(read_on_s if self._inbox_allowed_bytes < INBOX_MAX_BYTES else None):
                    await self._changed.wait()
            except TimeoutError:
                self._inbox_allowed_bytes += READ_ON_BYTES
                read_on_s += READ_ON_S
        if self._inbox_bytes < INBOX_BYTES:
            self._inbox_allowed_bytes = INBOX_BYTES

    # What the session machine asks for

    async def _perform(self, action: Action) -> None:
        match action:
            case Audio(data):
                await self._feed(data)
            case CheckToken(token):
                assert self._check_token is not None
                for next_action in self._protocol.receive_verdict(await self._check_token(token)):
                    await self._perform(next_action)
            case FinishSession():
                await self._finish_session()
            case _:
                self._perform_now(action)

    def _perform_now(self, action: Action) -> None:
        match action:
            case OpenSession(start):
                self._open_session(start)
            case Flush():
                assert self._runner is not None
                self._runner.flush()
            case Reply(event):
                self._emit(event)
            case Close():
                self._close(action)
            case _:
                raise AssertionError(f"{action!r} has to be awaited")

    async def _feed(self, data: bytes) -> None:
        assert self._runner is not None
        view = memoryview(data)
        for offset in range(0, len(data), self._slice_bytes):
            if offset:
                await asyncio.sleep(0)  # others first
            if self._closing is None and self._is_behind():
                self._tally.limit_hits.add(self._limit_that_holds())
                await self._until(self._has_caught_up)
            if self._closing is not None:
                return
            self._fed_s = self._loop.time()
            self._runner.feed(view[offset : offset + self._slice_bytes])

    def _open_session(self, start: Start) -> None:
        if self._draining:
            self.leave()
            return
        runner = open_route(self._route, self._service, start, self._emit, self._progressed)
        slice_bytes = int(FEED_SLICE_S * start.format.sample_rate / start.format.channels) * start.format.frame_bytes
        self._allowance = self._service.audio_budget.open(start.format.channels)
        self._runner, self._slice_bytes = runner, min(slice_bytes, self._limits.message_bytes)
        runner.on_failure = self._fail
        runner.may_submit = self._may_ask
        self._opened_s = self._loop.time()
        self._tally.session_began(self._route, runner)
        self._timer.cancel()
        self._timer = self._loop.call_later(self._limits.idle_timeout_s, self._check_silence)
        if self._stall_s:
            self._stall_timer = self._loop.call_later(self._stall_s, self._check_stall)
        account = SessionRecord(self._service, self._route, start, self._caller, runner, self._log_context)
        self._account = account
        if start.notices:
            name, limits = self._service.model.name, self._service.public_limits
            self._emit(Started(account.session_id, name, limits, trace_id=account.trace_id))
            self._progress_timer = self._loop.call_later(PROGRESS_S, self._send_progress, runner)

    async def _finish_session(self, ending: Close | None = None) -> None:
        runner = self._runner
        assert runner is not None
        runner.finish()
        await self._until(lambda: runner.pending == 0)
        if self._closing is not None:
            return
        if self._progress_timer is not None:
            self._emit(Finished(runner.received_s, runner.processed_s, runner.results, runner.errors))
        if ending is None:
            self._end_session("finished")
        else:
            self._end_session("closed", ending.code)
        self._n_finished += 1

    async def _end(self, ending: Ending) -> None:
        if self._runner is not None:
            await self._finish_session(ending.close)
        if ending.error is not None and self._closing is None:
            self._emit(Error(str(ending.error), ending.error.code))
        self._close(ending.close)

    def _end_session(self, outcome: Outcome = "abandoned", close_code: int | None = None) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None
        if self._runner is not None:
            self._tally.session_ended(self._route, self._runner, self._loop.time() - self._opened_s)
            self._runner.abandon()
            self._runner = None
        if self._account is not None:
            if close_code is None and self._closing is not None:
                close_code = self._closing.code
            with logs.about(self._log_context):  # also when the end of the server, or a timer, closes it
                self._account.close(outcome, close_code)
            self._account = None
        if self._allowance is not None:
            self._allowance.close()
            self._allowance = None

    def _send_progress(self, runner: RouteHandler) -> None:
        if not self._send_queue.is_full:  # who does not read is told nothing more
            self._emit(Progress(runner.received_s, runner.processed_s, runner.backlog_s, runner.real_time_factor))
        self._progress_timer = self._loop.call_later(PROGRESS_S, self._send_progress, runner)

    # Waiting

    def _is_behind(self) -> bool:
        """The model (or the client, with reading) is so far behind that no more audio is taken in."""
        runner, allowance = self._runner, self._allowance
        assert runner is not None
        assert allowance is not None
        owed, backlog_s = runner.pending, runner.backlog_s
        allowance.hold(backlog_s)
        return (
            backlog_s >= self._limits.buffered_audio_s
            or (owed > 0 and allowance.is_too_large)  # an answer will come, and then there is less
            or owed >= self._max_owed
            or self._send_queue.is_full
        )

    def _limit_that_holds(self) -> str:
        """The name of the setting that `_is_behind` is about."""
        runner = self._runner
        assert runner is not None
        if runner.backlog_s >= self._limits.buffered_audio_s:
            return "buffered_audio_s"
        if self._allowance is not None and self._allowance.is_too_large:
            return "total_buffered_audio_s"
        return "stream_jobs" if runner.pending >= self._max_owed else "unsent_events"

    def _has_caught_up(self) -> bool:
        runner, allowance = self._runner, self._allowance
        assert runner is not None
        assert allowance is not None
        return (
            runner.backlog_s < self._limits.buffered_audio_s / 2
            and (allowance.is_small_again or runner.pending == 0)
            and runner.pending <= self._max_owed / 2
            and self._send_queue.has_room
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Returns also when the connection is closed meanwhile, which ends its session."""
        while self._closing is None and not condition():
            self._changed.clear()
            await self._changed.wait()

    def _progressed(self) -> None:
        if self._runner is not None and self._allowance is not None:
            self._allowance.hold(self._runner.backlog_s)
        self._heard_s = self._loop.time()  # who waited for us was not idle
        self._changed.set()

    def _check_silence(self) -> None:
        """The timer of the connection: sends away who never starts, and who says nothing for too long while nothing is
        owed.
        """
        kind, now_s = self._protocol.timeout_kind, self._loop.time()
        # Who does not read what we say is not waiting for us; nor is who we do not know yet, whatever is said.
        is_waiting_for_us = (
            self._protocol.authorized
            and self._send_queue.has_room
            and (self._worker is not None or (self._runner is not None and self._runner.pending > 0))
        )
        limit_s = self._limits.idle_timeout_s
        due_s = now_s + limit_s if is_waiting_for_us else self._heard_s + limit_s
        if (kind == "idle" or is_waiting_for_us) and now_s < due_s:
            self._timer = self._loop.call_at(due_s, self._check_silence)
            return
        actions = self._protocol.receive_timeout(kind)
        if actions:
            self._tally.limit_hits.add(f"{kind}_timeout_s")
        for action in actions:
            self._perform_now(action)

    def _check_stall(self, is_sure: bool = False) -> None:
        """The timer of a session on the segmented route: closes an utterance whose audio has stopped coming. It is not
        set anew with each message, but looks when the last one was.
        """
        runner, now_s = self._runner, self._loop.time()
        assert runner is not None
        wait_s = self._stall_s if self._worker is not None else self._fed_s + self._stall_s - now_s
        if wait_s <= 0 and runner.speaking and not is_sure:
            self._stall_timer = self._loop.call_later(STALL_SURE_S, self._check_stall, True)
            return
        if wait_s <= 0:
            wait_s = self._stall_s
            if runner.speaking:
                try:
                    runner.flush()
                except Exception:
                    self._fail()
                    return
        self._stall_timer = self._loop.call_later(wait_s, self._check_stall)

    def _end_of_life(self) -> None:
        self._tally.limit_hits.add("session_s")
        error = StreamTimeout(f"the connection is {self._limits.session_s:g} s old, the longest allowed")
        self._put_aside(Ending(Close(1008, error.code), error))

    # The end of the server (service.Stream)

    def drain(self, grace_s: float) -> bool:
        self._draining = True
        if self._worker is None and self._runner is None:
            self.leave()
            return False
        if self._progress_timer is not None:
            self._emit(Draining(grace_s))
        return True

    def end(self) -> None:
        self._put_aside(Ending(Close(GOING_AWAY, "")))

    def leave(self) -> None:
        self._close(Close(GOING_AWAY, ""))

    # Out

    def _emit(self, event: Event) -> None:
        try:
            text = encode_event(event)
        except VoxgateError as error:
            logger.error("model %r: a result cannot be sent: %s", self._service.model.name, error)
            if isinstance(event, Segment) and event.is_final is False:
                return  # an error would be taken for that of the final
            segment_id = event.segment_id if isinstance(event, Segment) else UNSET
            event = Error(INTERNAL_ERROR, InternalError.code, event.channel, segment_id)
            text = encode_event(event)
        if isinstance(event, Error):
            self._tally.errors.add(event.code)
        self._send_queue.put(text)

    def _sent(self) -> None:
        """The socket has taken an event."""
        self._changed.set()
        if self._runner is not None:
            try:
                self._runner.submit_deferred()
            except Exception:
                self._fail()

    def _close(self, close: Close) -> None:
        """Everything said so far leaves first, then the close frame."""
        if self._closing is None:
            self._closing = close
            if outcome_of(close) == "invalid":
                self._tally.limit_hits.add("message_bytes" if close.code == 1009 else "invalid_messages")
            self._end_session("closed")
            self._inbox.clear()
            self._inbox_bytes = 0
            self._send_queue.close(close)
            self._changed.set()

    def _fail(self) -> None:
        """A bug of ours: the stack goes into the log, not on the wire."""
        logger.exception("a connection failed")
        self._emit(Error(INTERNAL_ERROR, InternalError.code))
        self._close(Close(1011, InternalError.code))


def _cost_bytes(message: str | bytes | Ending) -> int:
    """What a message counts for while it waits."""
    if isinstance(message, Ending):
        return MESSAGE_BYTES
    return MESSAGE_BYTES + (utf8_bytes(message) if isinstance(message, str) else len(message))
