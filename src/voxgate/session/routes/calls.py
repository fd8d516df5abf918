"""The model calls of a session, from their making to their answers."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVarTuple

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from voxgate.errors import InternalError, Overloaded, VoxgateError
from voxgate.inference.engine.base import CallMethod, Job, State
from voxgate.models.request import Request
from voxgate.protocol.events import Error, Event, Segment
from voxgate.protocol.machine import Route
from voxgate.protocol.output import Output
from voxgate.runtime import logs
from voxgate.session.routes.interim_pace import InterimPace
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit, PendingReply, ReorderBuffer
from voxgate.session.routes.segment_metrics import SegmentMetrics
from voxgate.session.routes.stable_text import StableText

if TYPE_CHECKING:
    import asyncio

    from voxgate.observe.tracing import CallTrace, SessionTrace

__all__ = ["ModelCall", "ModelCalls", "Samples"]

RETRY_S = 0.05
"""A call for which the scheduler had no room is submitted again after this time."""

NO_OUTPUT = Output(b"")

Samples = NDArray[np.float32]
Arguments = TypeVarTuple("Arguments")

logger = logging.getLogger("voxgate.session")


@dataclass(eq=False, slots=True)
class ModelCall:
    """One model call of a channel: its audio, and the place of its answer."""

    channel: int
    start_pos: int
    end_pos: int
    is_final: bool | None
    """None: the route has no interims."""
    reply: PendingReply
    job: Job
    made_s: float
    """On the scheduler's clock."""
    segment_id: int | UnsetType = UNSET
    is_submitted: bool = False
    is_refused: bool = False
    """The scheduler had no room for it at least once."""
    trace: CallTrace | None = None
    is_dropped: bool = False
    """An interim whose answer is no longer needed; its reply is settled."""
    turn_probability: float | UnsetType = UNSET
    """Of a final: what the turn detector said, if the client asked for it."""
    stable_text: StableText | None = None
    """Of a final: what has settled of the text of its segment, for the interims of its call."""


class ModelCalls:
    """Makes calls, defers them, submits them, and settles their replies in audio order.

    Everything runs on the event loop's thread and never awaits; results come from the scheduler on the same thread.
    """

    # Attributes that every message reads are slots; the rest is in the dictionary.
    __slots__ = ("__dict__", "calls", "unchecked")

    route: ClassVar[Route]

    def __init__(
        self, parts: RouteParts, rate: int, n_channels: int, emit: Emit, on_progress: Callable[[], None]
    ) -> None:
        self._scheduler = parts.scheduler
        self._tally = parts.tally
        self._rate = rate
        self._n_channels = n_channels
        self._channels = range(n_channels)
        self._on_progress = on_progress
        self._metrics = SegmentMetrics(parts.tally, self.route, n_channels)
        self._replies = [ReorderBuffer(emit, self._metrics.on_emitted) for _ in range(n_channels)]
        # By job, so that a job refers to its session and not to its call: without a reference cycle among them, audio
        # and state are freed as soon as their call is over, and not when the garbage collector runs.
        self.calls: dict[Job, ModelCall] = {}
        """The calls that are not over; when it is empty, `pending` is 0."""
        self.unchecked: dict[int, bool] = {}
        """Not empty: `pending` has grown since the owner last cleared this, or `backlog_s` by more than the audio of an
        unfinished group: the owner checks both before it feeds more, and clears it, like the end of the last call."""
        self._in_calls_samples = [0] * n_channels
        # Calls that wait here, in audio order, until fewer calls of this stream are queued: in the scheduler they would
        # use up their deadline, and the room of other streams. Interims, of which a channel has one, do not wait here.
        self._deferred: deque[ModelCall] = deque()
        self._n_submitted = 0
        self._is_submitting = False
        self._last_submitted_s = -math.inf
        self._per_stream = parts.config.inference.per_stream
        self._deadline_s = parts.config.inference.deadline_s
        self._retry: asyncio.TimerHandle | None = None
        self._model_s = 0.0
        self._interim_pace: InterimPace | None = None
        """None: the client did not ask for interim results."""
        self.log_context: logs.LogContext | None = None
        """The log context of this session; set before the first audio, like the next three."""
        self.request = Request()
        """What all calls of this session have in common."""
        self.options_group: object | None = None
        """See `Job.group`."""
        self.trace: SessionTrace | None = None
        self.on_failure: Callable[[], None] | None = None
        """Called, inside the `except` block, for an exception that no caller of this object can see: from answers,
        timers and the detector, not from `feed`, `flush` and `finish`."""
        self.may_submit: Callable[[], bool] = lambda: True
        """False while so many answers wait for the client that no further call should run; then see
        `submit_deferred`."""
        self.most_lag_s = 0.0
        """The largest `backlog_s` so far."""
        self._reserved_keys: frozenset[str] = frozenset()
        """Those of `SESSION_KEYS` that the events of this session use."""
        self._has_logged_key = False

    @property
    def results(self) -> int:
        """Answers of calls that were emitted."""
        return sum(replies.n_results for replies in self._replies)

    @property
    def errors(self) -> int:
        """Errors that were emitted in place of answers."""
        return sum(replies.n_errors for replies in self._replies)

    @property
    def pending(self) -> int:
        """The number of replies that are not emitted yet: of calls that are not over, and those behind them."""
        return sum(map(len, self._replies))

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that wait for the model or are in it, without interims, of the channel that is furthest
        behind.
        """
        return max(map(self._pending_samples, self._channels)) / self._rate

    def abandon(self) -> None:
        """The client is gone: cancels all calls; results of running ones are dropped."""
        self.most_lag_s = max(self.most_lag_s, self.backlog_s)
        for job in self.calls:
            self._scheduler.cancel(job)
        if self._interim_pace is not None:
            self._interim_pace.stop()
        self.calls.clear()
        self.unchecked.clear()
        self._deferred.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def submit_deferred(self) -> None:
        """Submits deferred calls as far as there is room. The owner calls this when `may_submit` may have changed."""
        if self._is_submitting:
            return  # The end of a call below made room for the next one, which the loop there reaches.
        self._is_submitting = True
        try:
            while self._deferred and self._n_submitted < self._per_stream and self._retry is None and self.may_submit():
                call = self._deferred[0]
                try:
                    self._scheduler.submit(call.job)
                except VoxgateError as error:
                    if isinstance(error, Overloaded) and self._may_wait(call):
                        # The bounds of the server are reached, not those of this stream: the call is answered later.
                        self._tally.limit_hits["max_jobs"] += not call.is_refused
                        call.is_refused = True
                        self._retry = self._scheduler.loop.call_later(RETRY_S, self._submit_again)
                        return
                    call.job.error = error
                    self._deferred.popleft()
                    self._over(call)
                else:
                    self._deferred.popleft()
                    self._last_submitted_s = call.job.submitted_s
                    self._n_submitted += 1
                    call.is_submitted = True
        finally:
            self._is_submitting = False

    # --- for the routes ---

    def _new_call(
        self,
        channel: int,
        audio: Samples,
        start_pos: int,
        end_pos: int,
        is_final: bool | None = None,
        method: CallMethod = "infer",
        state: State | None = None,
        segment_id: int | UnsetType = UNSET,
    ) -> ModelCall:
        """A call with `audio`; reserves the place of its answer among the channel's replies. `_submit` must follow."""
        is_interim = is_final is False
        request = self._request_of(channel, start_pos, end_pos, is_final=not is_interim)
        job = Job(
            audio, self._rate, not is_interim, self, self._on_done, method, state, self.log_context, None, request
        )
        job.group = self.options_group
        call = self._call_of(job, channel, start_pos, end_pos, is_final, segment_id)
        if self.trace is not None:
            job.trace = call.trace = self.trace.asked(
                channel, start_pos / self._rate, end_pos / self._rate, is_final, method
            )
        return call

    def _request_of(self, channel: int, start_pos: int, end_pos: int, is_final: bool) -> Request:
        """What the model may know about a call of this session."""
        common = self.request
        return Request(
            options=common.options,
            channel=channel,
            final=is_final,
            start_s=start_pos / self._rate,
            end_s=end_pos / self._rate,
            session_id=common.session_id,
            identity=common.identity,
            sample_rate=common.sample_rate,
        )

    def _call_of(
        self,
        job: Job,
        channel: int,
        start_pos: int,
        end_pos: int,
        is_final: bool | None,
        segment_id: int | UnsetType,
    ) -> ModelCall:
        """The call that `job` is for, among those that are not over."""
        reply = self._reserve(channel)
        call = ModelCall(channel, start_pos, end_pos, is_final, reply, job, self._scheduler.clock(), segment_id)
        if self._interim_pace is not None:
            job.on_partial = self._on_partial
        self.calls[job] = call
        if is_final is not False:
            self._in_calls_samples[channel] += len(job.audio)
        return call

    def _reserve(self, channel: int) -> PendingReply:
        """The place of the next reply of a channel."""
        self.unchecked[channel] = True
        return self._replies[channel].reserve()

    def _submit(self, call: ModelCall) -> None:
        """Submits the call, now or after those before it. The call may be over when this returns."""
        if call.is_final is not False:
            self._deferred.append(call)
            self.submit_deferred()
            return
        try:
            self._scheduler.submit(call.job)
        except VoxgateError as error:
            call.job.error = error
            self._over(call)

    def _drop(self, call: ModelCall) -> None:
        """The answer of an interim is no longer needed: its place stays empty."""
        if not call.is_dropped:
            call.is_dropped = True
            self._scheduler.drop(call.job)
            self._replies[call.channel].settle(call.reply, None)

    def _withdraw(self, call: ModelCall) -> bool:
        """Takes an interim out of the queue, and ends it. False: a worker runs it; the call is over when it returns."""
        if not self._scheduler.withdraw(call.job):
            return False
        self._drop(call)
        self._over(call)
        return True

    def _guarded(self, work: Callable[[*Arguments], None], *arguments: *Arguments) -> None:
        """Runs a callback of the event loop in the session's log context; an exception ends the session instead of
        leaving it silent.
        """
        token = logs.current.set(() if self.log_context is None else (self.log_context,))
        try:
            work(*arguments)
        except Exception:
            if self.on_failure is None:
                raise
            self.on_failure()
        finally:
            del work, arguments  # An exception has this frame in its traceback.
            logs.current.reset(token)

    # --- what a route may define ---

    def _pending_samples(self, channel: int) -> int:
        """Samples of a channel that wait for the model or are in it."""
        return self._in_calls_samples[channel]

    def _on_over(self, call: ModelCall) -> None:
        """A call is over, and its reply is settled. New calls may be made here."""

    def _event_of(self, call: ModelCall) -> Event | None:
        """The answer to a call that is over; None: no answer."""
        error, result = call.job.error, call.job.result
        if result is not None and not self._reserved_keys.isdisjoint(result.session_keys):
            error = self._reserved(result)
        if error is None:
            if result is None and call.is_final is False:
                return None
            is_final = UNSET if call.is_final is None else call.is_final
            return self._segment_of(call, NO_OUTPUT if result is None else result, is_final)
        if call.is_final is False:
            return None  # An interim may be dropped; the client would take its error for that of the final.
        return Error(message=str(error), code=error.code, channel=call.channel, segment_id=call.segment_id)

    def _segment_of(self, call: ModelCall, output: Output, is_final: bool | UnsetType) -> Segment:
        """A result of the call; `is_final` is False for an interim one, of a call that may still run."""
        return Segment(
            start_time=call.start_pos / self._rate,
            end_time=call.end_pos / self._rate,
            is_final=is_final,
            output=output,
            channel=call.channel,
            segment_id=call.segment_id,
            turn_probability=call.turn_probability if is_final is True else UNSET,
        )

    def _reserved(self, result: Output) -> InternalError:
        """The error in place of a result with a key that the events of this session use."""
        if not self._has_logged_key:
            self._has_logged_key = True
            key = min(self._reserved_keys & result.session_keys)
            logger.error("a result cannot be sent: in this session, the key %r is reserved", key)
        return InternalError()

    # --- the end of a call ---

    def _may_wait(self, call: ModelCall) -> bool:
        """Whether a call that the scheduler refused may be submitted again: until `inference.deadline_s` after it was
        made, or after the last accepted call of this stream, for until then it waited for its own stream.
        """
        return self._scheduler.clock() < max(call.made_s, self._last_submitted_s) + self._deadline_s

    def _submit_again(self) -> None:
        self._retry = None
        self._guarded(self.submit_deferred)

    def _on_partial(self, job: Job, output: Output) -> None:
        """An interim result of a running call. Those of a call that is not the next to be answered are left out."""
        if self._interim_pace is not None and self._has_turn(job):
            self._interim_pace.offer(job, output, self._send_partial)

    def _has_turn(self, job: Job) -> bool:
        call = self.calls.get(job)
        return call is not None and not call.is_dropped and self._replies[call.channel].is_first(call.reply)

    def _send_partial(self, job: Job, output: Output) -> None:
        # A key that is reserved gives an error in place of the result, probably.
        if self._has_turn(job) and self.may_submit() and self._reserved_keys.isdisjoint(output.session_keys):
            self._guarded(self._emit_partial, self.calls[job], output)

    def _emit_partial(self, call: ModelCall, output: Output) -> None:
        self._replies[call.channel].emit_interim(call.reply, self._segment_of(call, output, is_final=False))

    def _on_done(self, job: Job) -> None:
        self._guarded(self._over, self.calls[job])

    def _over(self, call: ModelCall) -> None:
        """Every call ends here: answered, failed, expired, refused or withdrawn."""
        job = call.job
        self.most_lag_s = max(self.most_lag_s, self.backlog_s)  # It shrinks nowhere else.
        del self.calls[job]
        if not self.calls:
            self.unchecked.clear()
        if self._interim_pace is not None:
            self._interim_pace.forget(job)
        if call.is_final is not False:
            self._in_calls_samples[call.channel] -= len(job.audio)
            self._n_submitted -= call.is_submitted
        self._add_model_time(job)
        if call.trace is not None:
            call.trace.answered(job, "superseded" if call.is_dropped else None)
        try:
            if not call.is_dropped:
                self._settle(call)
            self._on_over(call)
            if self._deferred:
                self.submit_deferred()
        finally:
            self._on_progress()

    def _add_model_time(self, job: Job) -> None:
        self._model_s += job.run_s / max(1, job.batch_size)

    def _settle(self, call: ModelCall) -> None:
        self._replies[call.channel].settle(call.reply, self._event_of(call))
