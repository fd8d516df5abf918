"""The parts of one open session, made and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from voxgate.models.request import Request
from voxgate.protocol.closing import Close
from voxgate.protocol.events import Finished, Progress, Started
from voxgate.protocol.formats import MediaFormat
from voxgate.protocol.requests import Start
from voxgate.runtime import logs
from voxgate.runtime.logs import LogContext
from voxgate.service.client_info import ClientInfo
from voxgate.session.backlog import Backlog
from voxgate.session.context import SessionContext
from voxgate.session.record import Outcome, SessionRecord
from voxgate.session.routes import FEED_SLICE_S, Emit, Route, open_route
from voxgate.session.send_queue import SendQueue

__all__ = ["Work"]


class Work:
    """A handler with its record and its backlog, from a start until :meth:`close`."""

    __slots__ = (
        "_context",
        "_log_context",
        "_media",
        "_opened_s",
        "_record",
        "_route",
        "backlog",
        "handler",
        "slice_bytes",
        "start",
    )

    def __init__(
        self,
        context: SessionContext,
        route: Route,
        start: Start,
        options: Any,
        client: ClientInfo,
        log_context: LogContext,
        send_queue: SendQueue,
        emit: Emit,
        on_progress: Callable[[], None],
        on_failure: Callable[[], None],
        media: MediaFormat | None = None,
    ) -> None:
        """`options`: the model's, as `SessionOptions` returned them. `emit`, `on_progress` and `on_failure` are those
        of the handler. `start`: with the format of PCM; `media`: what it was decoded from.
        """
        audio_format, inference = start.pcm, context.config.inference
        self._context = context
        self._media = media
        self._route = route
        self._log_context = log_context
        self._opened_s = asyncio.get_running_loop().time()
        self.start: Final = start
        self.handler: Final = open_route(route, context, start, emit, on_progress)
        self.handler.on_failure = on_failure
        self.handler.may_submit = lambda: not send_queue.is_full
        self.slice_bytes: Final = int(FEED_SLICE_S * audio_format.sample_rate / audio_format.channels) * (
            audio_format.frame_bytes
        )
        """The most audio that the handler should take in one turn of the loop."""
        self._record = SessionRecord(context, route, start, client, self.handler, log_context)
        self.handler.request = Request(
            options=options,
            session_id=self._record.session_id,
            identity=client.identity,
            sample_rate=audio_format.sample_rate,
        )
        self.handler.options_group = context.session_options.group_of(options)
        # Well below the scheduler's own limit: one slice of audio may end several segments of every channel.
        max_pending = max(1, inference.stream_jobs // 2)
        allowance = context.audio_budget.open(audio_format.channels)
        self.backlog: Final = Backlog(self.handler, send_queue, allowance, context.config.limits, max_pending)
        context.tally.session_began(route, self.handler)

    @property
    def started(self) -> Started:
        """The notice that it opened."""
        record, context = self._record, self._context
        return Started(
            record.session_id,
            context.model.name,
            context.public_limits,
            trace_id=record.trace_id,
            format=self._media,
            options_schema=context.session_options.schema,
            turn_detector=self.handler.turn_detector,
        )

    @property
    def progress(self) -> Progress:
        """The notice of how far it is."""
        handler = self.handler
        return Progress(handler.received_s, handler.processed_s, handler.backlog_s, handler.real_time_factor)

    @property
    def finished(self) -> Finished:
        """The notice that all its results were sent."""
        handler = self.handler
        return Finished(handler.received_s, handler.processed_s, handler.results, handler.errors)

    def close(self, outcome: Outcome, close: Close | None, code: int | None) -> None:
        """Drops everything that the model has not answered. `close` and its `code`: the stream ends too."""
        length_s = asyncio.get_running_loop().time() - self._opened_s
        self._context.tally.session_ended(self._route, self.handler, length_s)
        self.handler.abandon()
        with logs.about(self._log_context):  # also when a timer, or the end of the server, closes it
            self._record.close(outcome, None if close is None else close.reason, code)
        self.backlog.close()
