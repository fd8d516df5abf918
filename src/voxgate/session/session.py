"""One client's session: takes its requests and audio, feeds them to a handler, and queues the events for it.

Live audio is handled where it is read: no task and no queue stands between the wire and the detector. Only messages
that have to wait go through the inbox: those that start or finish a session (which waits for results), audio while the
model is behind, and messages too long for one turn of the event loop. Audio in a container passes a decoder first
(`decoding`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal, TypeAlias

from msgspec import structs

from voxgate.audio.containers import MediaError
from voxgate.errors import INTERNAL_ERROR, InternalError, StreamTimeout, VoxgateError
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Draining, Error, Event, Finished, Flushed
from voxgate.protocol.formats import ContainerFormat, MediaFormat
from voxgate.protocol.machine import (
    Action,
    Audio,
    CheckToken,
    Clear,
    FinishSession,
    Flush,
    OpenSession,
    Reply,
    SessionMachine,
)
from voxgate.protocol.requests import Start
from voxgate.runtime import logs, tasks
from voxgate.runtime.logs import LogContext
from voxgate.service.client_info import UNKNOWN_CLIENT, ClientInfo
from voxgate.session.context import SessionContext
from voxgate.session.decoding import Decoding, Undecoded
from voxgate.session.ending import end_of
from voxgate.session.endpoint import Answer, Endpoint, Restart
from voxgate.session.inbox import Inbox
from voxgate.session.incoming import Ending, Incoming, actions_of
from voxgate.session.outgoing import messages_of
from voxgate.session.record import Outcome
from voxgate.session.routes import LiveListener, Route, RouteHandler
from voxgate.session.send_queue import SendQueue
from voxgate.session.timers import PROGRESS_S, Timers
from voxgate.session.work import Work

__all__ = ["Session", "TokenCheck"]

logger = logging.getLogger(__name__)

TokenCheck: TypeAlias = Callable[[str], Awaitable[ClientInfo | VoxgateError]]
"""Returns why a token is refused, or the client as its valid token shows it."""


class Session:
    """Serves one client from its acceptance to its end: ``await Session(...).run()``. Belongs to the loop's thread."""

    __slots__ = (
        *("_changed", "_check_token", "_client", "_closing", "_context", "_decoding", "_direct", "_endpoint", "_inbox"),
        *("_is_draining", "_last_audio_s", "_last_message_s", "_live", "_log_context", "_loop", "_machine"),
        *("_n_finished", "_options", "_route", "_send_queue", "_slice_bytes", "_start", "_tally", "_timers", "_work"),
    )

    def __init__(
        self,
        endpoint: Endpoint,
        context: SessionContext,
        route: Route,
        check_token: TokenCheck | None = None,
        client: ClientInfo = UNKNOWN_CLIENT,
        *,
        progress_s: float = PROGRESS_S,
        waits_for_start: bool = True,
    ) -> None:
        """`check_token` checks the token of the first start; None: the client needs no token any more. `progress_s`:
        between two progress notices. `waits_for_start`: for `limits.start_timeout_s` at most; False: the wire has other
        deadlines for the start.
        """
        config = context.config
        self._endpoint = endpoint
        self._context = context
        self._route = route
        self._tally = context.tally
        self._client = client
        self._check_token = check_token
        self._machine = SessionMachine(
            config.limits,
            context.vad,
            route,
            authorized=check_token is None,
            check_options=context.session_options.parse,
            turn=context.turn,
        )
        self._start: Start | None = None  # of the open session
        self._options: Any = None  # of the model, for the open session
        self._decoding: Decoding | None = None  # its container; None: it has PCM
        self._work: Work | None = None  # None also until the format of a container is known
        self._direct: RouteHandler | None = None  # its handler, while audio may go to it past the inbox
        self._live: LiveListener | None = None  # takes audio for it past this object
        self._log_context = LogContext()
        self._slice_bytes = 0
        self._n_finished = 0
        self._closing: Close | None = None
        self._is_draining = False
        self._changed = asyncio.Event()  # something that `_until` may wait for

        self._loop = asyncio.get_running_loop()
        self._last_message_s = self._last_audio_s = self._loop.time()
        self._send_queue = SendQueue(endpoint, config.limits, self._tally, self._on_sent)
        self._inbox: Inbox[Incoming] = Inbox(self._handle, self._on_idle, self._fail, self._log_context)
        stall_s = config.vad.stall_flush_ms / 1000 if route == "segmented" else 0.0
        self._timers = Timers(self, config.limits, stall_s, progress_s, waits_for_start)

    async def run(self) -> None:
        """Returns when the client is gone, or the server has closed the stream and the client has left. Raises nothing
        but CancelledError.
        """
        logs.current.set((self._log_context,))  # for this task, and all that it starts
        writer = tasks.spawn_task(self._send_queue.write(), "connection-writer", "connection")
        self._tally.stream_began(self._route, self._client.wire)
        is_gone = False
        self._context.streams.add(self)
        if self._context.is_draining():
            self.drain(0)
        self._endpoint.listen(self._take_audio)
        try:
            while (message := await self._endpoint.receive()) is not None:
                self._last_message_s = self._loop.time()
                if isinstance(message, bytes):
                    if self._feed_now(message):
                        continue
                    self._count(message)
                self._put(message)
                if self._inbox.is_full:
                    await self._inbox.wait_for_room()
            is_gone = True
        finally:
            is_done = self._n_finished > 0 and self._start is None and self._inbox.task is None and not self._send_queue
            end = end_of(self._endpoint, self._closing, is_gone, is_done, self._tally)
            self._tally.stream_ended(self._route, self._client.wire, *end)
            self._context.streams.discard(self)
            self._timers.close()
            self._inbox.close()
            self._end_session()
            self._endpoint.listen(None)
            self._send_queue.on_sent = self._changed.set  # break the circle, so that this object is freed at once
            if self._closing is None:
                writer.cancel()
            # Otherwise the writer ends by itself: it has the close to send, or has sent it.

    def drop_unread(self) -> None:
        """Drops the messages that wait, and calls the endpoint's `receive` at once: for a wire that learns of the end
        of its client although nothing is read.
        """
        self._inbox.clear()

    # In

    def _take_audio(self, data: bytes) -> bool:
        """The shortcut for live audio (`Listener`). With many streams, everything it touches has to come from memory
        each time: so it touches little, and leaves the rest to `_feed_now`.
        """
        handler, work = self._direct, self._work
        self._last_message_s = now_s = self._loop.time()
        if (
            (handler is None or work is None or handler.is_waiting or self._send_queue.waiting)
            or not 0 < len(data) <= self._slice_bytes
            or (handler.unchecked and work.backlog.is_behind)
        ):
            with logs.about(self._log_context):  # no task of this session runs it
                return self._feed_now(data)
        handler.unchecked.clear()
        self._last_audio_s = now_s
        tally = self._tally
        tally.binary[0] += 1
        tally.binary[1] += len(data)
        try:
            handler.feed(data)
        except Exception:
            with logs.about(self._log_context):
                self._fail()
        return True

    def _feed_now(self, data: bytes) -> bool:
        """Feeds short audio of an open session that nothing stands in front of. False: it has to go through the
        inbox.
        """
        if self._closing is not None:
            self._count(data)
            return True  # the session takes nothing any more
        handler, work, decoding = self._direct, self._work, self._decoding
        if handler is None or work is None or work.backlog.is_behind:
            return False
        handler.unchecked.clear()
        if not (0 < len(data) <= self._slice_bytes if decoding is None else decoding.can_push_now):
            return False
        self._last_audio_s = self._last_message_s
        self._count(data)
        try:
            if decoding is None:
                handler.feed(data)
            elif (rest := decoding.push_now(data, handler.feed)) is not None:
                self._put(rest)
        except MediaError as error:
            self._put(error)
        except Exception:
            self._fail()
        return True

    def _count(self, data: bytes) -> None:
        self._tally.binary[0] += 1
        self._tally.binary[1] += len(data)

    def _put(self, message: Incoming) -> None:
        if self._closing is None:
            self._direct = None
            if self._live is not None:
                self._live.is_open = False
            self._inbox.put(message)

    def _on_idle(self) -> None:
        """The inbox is empty."""
        self._direct = None if self._closing is not None or self._work is None else self._work.handler
        if self._live is not None:
            self._live.is_open = self._direct is not None

    async def _handle(self, message: Incoming) -> bool:
        """A message of the inbox. Returns whether the next may follow."""
        if isinstance(message, Ending):
            await self._end(message)
            return False
        if self._send_queue.is_full:
            await self._until(lambda: self._send_queue.has_room)
        if isinstance(message, Answer):
            if self._work is None:
                self._answer(message)
            else:
                self._work.handler.in_order(partial(self._answer, message))
        elif self._closing is None:
            if isinstance(message, Restart):
                await self._restart(message.start)
            elif isinstance(message, Undecoded):
                assert self._decoding is not None
                await self._decode(self._decoding.go_on(message))
            else:
                await self._perform_all(actions_of(message, self._machine))
            if self._is_draining and self._start is None:
                self.leave()
        return self._closing is None

    def _answer(self, message: Answer) -> None:
        if self._closing is None:
            answer = message.messages() if callable(message.messages) else message.messages
            if answer:
                self._send_queue.put(answer)

    # The machine's actions

    async def _perform_all(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if self._closing is not None:
                return
            await self._perform(action)

    async def _perform(self, action: Action) -> None:
        match action:
            case Audio(data) if self._decoding is not None:
                await self._decode(self._decoding.push(data))
            case Audio(data):
                await self._feed(data)
            case CheckToken(token):
                assert self._check_token is not None
                checked = await self._check_token(token)
                error = checked if isinstance(checked, VoxgateError) else None
                if not isinstance(checked, VoxgateError):
                    self._client = checked
                await self._perform_all(self._machine.receive_verdict(error))
            case FinishSession(error):
                await self._finish_session(error)
            case Flush() if self._work is not None:
                await self._catch_up(self._work)  # its reply is one more that may wait for the model
                if self._closing is None:
                    self._perform_now(action)
            case _:
                self._perform_now(action)

    def _perform_now(self, action: Action) -> None:
        match action:
            case OpenSession(start, options):
                self._open_session(start, options)
            case Flush():
                if self._work is None:  # the container has not told its format yet: nothing is open
                    self._emit(Flushed())
                else:
                    self._work.handler.flush()
                    self._work.handler.emit_flushed()
            case Clear():
                if self._work is not None:
                    self._work.handler.clear()
            case Reply(event):
                self._emit(event)
            case Close():
                self._close(action)
            case _:
                raise AssertionError(f"{action!r} has to be awaited")

    async def _decode(self, step: Awaitable[None]) -> None:
        """`step`: of the decoding."""
        try:
            await step
        except VoxgateError as error:
            await self._perform_all(self._machine.receive_media_error(error))

    async def _feed(self, data: bytes) -> bool:
        """Feeds PCM, with pauses. False: the stream closed meanwhile."""
        work = self._work
        assert work is not None
        handler = work.handler
        view = memoryview(data)
        for offset in range(0, len(data), work.slice_bytes):
            if offset:
                await asyncio.sleep(0)  # other sessions first
            await self._catch_up(work)
            if self._closing is not None:
                return False
            self._last_audio_s = self._loop.time()
            handler.feed(view[offset : offset + work.slice_bytes])
        return True

    async def _catch_up(self, work: Work) -> None:
        """Waits until `work` may take more in, or the stream closes."""
        backlog = work.backlog
        if self._closing is None and backlog.is_behind:
            self._tally.limit_hits.add(backlog.limit)
            await self._until(lambda: backlog.has_caught_up)

    def _open_session(self, start: Start, options: Any) -> None:
        if self._is_draining:
            self.leave()
            return
        self._start, self._options = start, options
        if isinstance(start.format, ContainerFormat):
            stream = self._context.decoders.open(start.format.container, self._context.model.sample_rate)
            self._decoding = Decoding(start, stream, self._open_decoded, self._feed)
        else:
            self._open_work(start)

    def _open_decoded(self, start: Start, media: MediaFormat) -> None:
        """The container of the open session has told its format, which is that of `start`."""
        self._machine.check_media(start.format)
        self._open_work(start, media)

    def _open_work(self, start: Start, media: MediaFormat | None = None) -> None:
        self._work = work = Work(
            *(self._context, self._route, start, self._options, self._client, self._log_context, self._send_queue),
            *(self._emit, self._on_progressed, self._fail),
            media=media,
        )
        self._timers.open_session(start.notices, may_stall=start.segmentation == "auto")
        if start.notices:
            self._emit(work.started)
        if media is not None:
            self._slice_bytes = 0  # no message is PCM: the shortcuts are for that alone
            return
        self._slice_bytes = work.slice_bytes
        self._live = work.handler.listener(
            max_bytes=work.slice_bytes,
            events=self._send_queue.waiting,
            clock=self._loop.time,
            otherwise=self._take_audio,
            on_failure=self._fail_here,
        )
        self._endpoint.listen(self._live or self._take_audio)

    async def _finish_session(self, error: Error | None = None, close: Close | None = None) -> None:
        """`error`: of its container. `close`: the stream ends with the session."""
        start = self._start
        assert start is not None
        if self._decoding is not None and error is None:
            try:
                await self._decoding.finish(is_cut=close is not None)
            except VoxgateError as late:
                error = Error(str(late), late.code)
        if (work := self._work) is not None and self._closing is None:
            work.handler.finish()
            await self._until(lambda: work.handler.pending == 0)
        if self._closing is not None:
            return
        if error is not None:
            self._emit(error)
        if start.notices:
            finished = Finished(0.0, 0.0, 0, 0) if work is None else work.finished
            self._emit(finished if error is None else structs.replace(finished, errors=finished.errors + 1))
        self._end_session("finished" if close is None else "closed", close)
        self._n_finished += 1

    async def _restart(self, start: Start) -> None:
        work = self._work
        rest = work.handler.take_rest() if work is not None and work.start.format == start.format else b""
        await self._perform_all(self._machine.receive(start))
        if rest:
            await self._perform_all(actions_of(rest, self._machine))

    async def _end(self, ending: Ending) -> None:
        if self._start is not None:
            await self._finish_session(close=ending.close)
        if ending.error is not None and self._closing is None:
            self._emit(Error(str(ending.error), ending.error.code))
        self._close(ending.close)

    def _end_session(self, outcome: Outcome = "abandoned", close: Close | None = None) -> None:
        self._timers.close_session()
        self._direct = None
        if self._live is not None:
            self._live.is_open = False
            self._last_message_s = self.last_message_s
            self._live = None
            self._endpoint.listen(self._take_audio)
        if self._decoding is not None:
            self._decoding.close()
        self._start = self._decoding = None
        work, self._work = self._work, None
        if work is not None:
            close = close or self._closing
            work.close(outcome, close, None if close is None else self._endpoint.code_of(close))

    # Waiting

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Returns also when the stream closes meanwhile, which ends the session."""
        while self._closing is None and not condition():
            self._changed.clear()
            await self._changed.wait()

    def _on_progressed(self) -> None:
        """The handler has a result."""
        if self._work is not None:
            self._work.backlog.update()
        self._last_message_s = self._loop.time()  # a client that waited for the server was not idle
        self._changed.set()

    # The timers (timers.Watched)

    @property
    def last_message_s(self) -> float:
        return self._last_message_s if self._live is None else max(self._last_message_s, self._live.heard_s)

    @property
    def last_audio_s(self) -> float:
        return self._last_audio_s if self._live is None else max(self._last_audio_s, self._live.heard_s)

    @property
    def timeout_kind(self) -> Literal["start", "idle"]:
        return self._machine.timeout_kind

    @property
    def is_waited_for(self) -> bool:
        # A client that does not read does not wait, and one without a valid token is not trusted to.
        work = self._work
        return (
            self._machine.authorized
            and self._send_queue.has_room
            and (self._inbox.task is not None or (work is not None and work.handler.pending > 0))
        )

    @property
    def is_handling(self) -> bool:
        return self._inbox.task is not None

    @property
    def is_speaking(self) -> bool:
        return self._work is not None and self._work.handler.speaking

    def on_silence(self, kind: Literal["start", "idle"]) -> None:
        actions = self._machine.receive_timeout(kind)
        if actions:
            self._tally.limit_hits.add(f"{kind}_timeout_s")
        for action in actions:
            self._perform_now(action)

    def on_end_of_life(self) -> None:
        session_s = self._context.config.limits.session_s
        self._tally.limit_hits.add("session_s")
        error = StreamTimeout(f"the connection is {session_s:g} s old, the longest allowed")
        self._put(Ending(Close(CloseReason.TIMEOUT, error.code), error))

    def on_stall(self) -> bool:
        assert self._work is not None
        try:
            self._work.handler.flush()
        except Exception:
            self._fail()
            return False
        return True

    def on_progress(self) -> None:
        assert self._work is not None
        if not self._send_queue.is_full:  # a client that does not read gets no notices
            self._emit(self._work.progress)

    # The end of the server (service.Drainable)

    def drain(self, grace_s: float) -> bool:
        self._is_draining = True
        if self._inbox.task is None and self._start is None:
            self.leave()
            return False
        if self._start is not None and self._start.notices:
            self._emit(Draining(grace_s))
        return True

    def end(self) -> None:
        self._put(Ending(Close(CloseReason.DRAINING)))

    def leave(self) -> None:
        self._close(Close(CloseReason.DRAINING))

    # Out

    def _emit(self, event: Event) -> bool:
        messages, is_lost = messages_of(event, self._endpoint, self._tally, self._context.model.name)
        if messages:
            self._send_queue.put(messages)
        return is_lost

    def _on_sent(self) -> None:
        """The endpoint has sent an event."""
        self._changed.set()
        if self._work is not None:
            try:
                self._work.handler.submit_deferred()
            except Exception:
                self._fail()

    def _close(self, close: Close) -> None:
        """Closes the stream behind everything that waits to be sent. Only the first close counts."""
        if self._closing is None:
            self._closing = close
            if close.limit is not None:
                self._tally.limit_hits.add(close.limit)
            self._end_session("closed")
            self._inbox.clear()
            self._send_queue.close(close)
            self._changed.set()

    def _fail(self) -> None:
        """Handles the current exception, a bug of the server: the stack goes into the log, not to the client."""
        logger.exception("a connection failed")
        self._emit(Error(INTERNAL_ERROR, InternalError.code))
        self._close(Close(CloseReason.INTERNAL, InternalError.code))

    def _fail_here(self) -> None:
        with logs.about(self._log_context):  # no task of this session runs it
            self._fail()
