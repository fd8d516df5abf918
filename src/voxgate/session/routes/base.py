"""What the routes share: replies in audio order, model calls and their bookkeeping.

Everything here runs on the event loop's thread and never awaits: `feed` decodes, detects and submits; results come back
through the scheduler, on the same thread. Whoever owns a runner watches `backlog_s` (is the model behind?) and `owed`
(is anything still to be answered?), and is called back whenever either went down.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from voxgate.audio.decoder import StreamDecoder
from voxgate.errors import Overloaded, VoxgateError
from voxgate.inference.engine.base import Call as Method
from voxgate.inference.engine.base import Job, State
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Error, Event, Segment
from voxgate.protocol.machine import Route
from voxgate.protocol.requests import Start
from voxgate.runtime import logs
from voxgate.session.routes.timing import Timing

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import Buffer

    from voxgate.observe.tracing import CallTrace, SessionTrace
    from voxgate.session.context import SessionContext


# How much audio of a session `feed` should be given in one turn of the event loop, over all channels: about a
# millisecond of work.
FEED_SLICE_S = 1.0

# A call that the scheduler had no room for is offered again after this time, or with the next answer.
RETRY_S = 0.05

NS_PER_S = 1_000_000_000

Emit = Callable[[Event], None]
Samples = NDArray[np.float32]


class Reply:
    """A place in the order of a channel's replies, kept until it is known what stands there."""

    __slots__ = ("event", "settled", "since_s")

    def __init__(self, since_s: float = 0.0) -> None:
        self.event: Event | None = None
        self.settled = False
        self.since_s = since_s
        """From when on its answer is waited for, by `time.perf_counter`."""


class ReorderBuffer:
    """The replies of one channel: reserved in audio order, settled in any order, sent in audio order."""

    def __init__(self, emit: Emit, told: Callable[[Event, Reply], None] | None = None) -> None:
        """`told` is called for every event that was emitted."""
        self._emit = emit
        self._told = told
        self._waiting: deque[Reply] = deque()

    def __len__(self) -> int:
        """ReorderBuffer that have not been sent."""
        return len(self._waiting)

    def reserve(self) -> Reply:
        reply = Reply(time.perf_counter())
        self._waiting.append(reply)
        return reply

    def settle(self, reply: Reply, event: Event | None) -> None:
        """Says what stands at `reply`'s place; None leaves the place empty."""
        reply.event, reply.settled = event, True
        while self._waiting and self._waiting[0].settled:
            reply = self._waiting.popleft()
            if reply.event is not None:
                self._emit(reply.event)
                if self._told is not None:
                    self._told(reply.event, reply)


class Answers:
    """Counts the results that were handed out. Knows nothing of the runner, which would otherwise be in a circle with
    its replies.
    """

    def __init__(self, tally: Tally, route: Route, n_channels: int) -> None:
        self._tally = tally
        self._route = route
        self.began_s: list[float | None] = [None] * n_channels
        """When the open segment of each channel was found to have begun, as long as it has no interim."""

    def told(self, event: Event, reply: Reply) -> None:
        if not isinstance(event, Segment):
            return
        tally, now_s = self._tally, time.perf_counter()
        if event.is_final is False:
            tally.segments[self._route, "interim"] += 1
            began_s, self.began_s[event.channel] = self.began_s[event.channel], None
            if began_s is not None:
                tally.first_interim_s.observe(now_s - began_s)
        else:
            tally.segments[self._route, "final"] += 1
            if event.is_final is True:
                tally.final_s.observe(now_s - reply.since_s)


@dataclass(eq=False, slots=True)
class Call:
    """One model call of a channel: the audio it is about, and where its answer goes. `is_final` None: a route without
    interims.
    """

    channel: int
    start_pos: int
    end_pos: int
    is_final: bool | None
    reply: Reply
    job: Job
    made_s: float
    """By the scheduler's clock."""
    segment_id: int | UnsetType = UNSET
    submitted: bool = False
    refused: bool = False
    """There was no room for it at least once."""
    trace: CallTrace | None = None
    dropped: bool = False
    """An interim whose answer nobody wants any more; its reply is settled."""


class Runner:
    """One open session: the audio of all its channels becomes model calls, and their results become replies in audio
    order.

    `rate` (Hz) is that of all positions. `emit` receives every event at once and must not block; `on_progress` is
    called after each result.
    """

    # What every message asks for; the rest is in the dictionary.
    __slots__ = ("__dict__", "_timing", "calls")

    route: Route

    def __init__(
        self, context: SessionContext, start: Start, emit: Emit, on_progress: Callable[[], None], rate: int
    ) -> None:
        audio = context.config.audio
        self._scheduler = context.scheduler
        self._emit = emit
        self._on_progress = on_progress
        self._rate = rate
        self._n_channels = start.format.channels
        self._decoder = StreamDecoder(start.format, rate, resampler=audio.resampler, soxr_quality=audio.soxr_quality)
        self._tally = context.tally
        self._answers = Answers(context.tally, self.route, self._n_channels)
        self._replies = [ReorderBuffer(emit, self._answers.told) for _ in range(self._n_channels)]
        # By job, so that a job knows only its runner, not its call: without a circle among them, audio and state are
        # freed as soon as their call is over, and not when the garbage collector comes by.
        self.calls: dict[Job, Call] = {}
        """Those that are not over; without any, nothing is `owed`."""
        self._in_calls_samples = [0] * self._n_channels
        self._has_ids = start.notices
        self._n_ids = [0] * self._n_channels
        # Calls that wait here, in audio order, until the scheduler has fewer of this stream: there they would use up
        # the time that a call may take, and the room of others. Interims, of which a channel has one, go straight on.
        self._held: deque[Call] = deque()
        self._n_submitted = 0
        self._submitting = False
        self._last_submitted_s = -math.inf
        self._per_stream = context.config.inference.per_stream
        self._patience_s = context.config.inference.deadline_s
        self._retry: asyncio.TimerHandle | None = None
        self._model_s = 0.0
        self._timing = Timing(context.tally, self._n_channels, start.format.sample_rate)
        self.log_context: logs.LogContext | None = None
        """Whose log lines these are; set before the first audio, as is the next."""
        self.trace: SessionTrace | None = None
        self.on_failure: Callable[[], None] | None = None
        """Called, from its handler, for an exception that has no other way to the owner of this session: for those of
        answers, timers and the detector, not for those of `feed`, `flush` and `finish`.
        """
        self.may_ask: Callable[[], bool] = lambda: True
        """Says no while so many answers wait for the client that no call should be made for more; see `ask_on`."""
        self.most_lag_s = 0.0
        """The largest `backlog_s` so far."""
        self.results = 0
        self.errors = 0

    # What the connection calls.

    def feed(self, data: Buffer) -> None:
        """Takes interleaved wire bytes, cut anywhere. Takes time in proportion: the caller slices what is long."""
        decoder = self._decoder
        received_frames = decoder.received_frames
        if received_frames < self._timing.due_frames:
            self._take(decoder.push(data))
            return
        began_s = time.perf_counter()
        planes = decoder.push(data)
        decode_s = time.perf_counter() - began_s
        vad_s = self._take_timed(planes)
        self._timing.add(decoder.received_frames, decoder.received_frames - received_frames, decode_s, vad_s)

    def flush(self) -> None:
        """Asks about what has been heard so far without waiting for more; the session goes on."""
        raise NotImplementedError

    def finish(self) -> None:
        """No more audio will come: what is still open is closed. ReorderBuffer follow until `owed` is 0."""
        self._take(self._decoder.finish())
        self._close()

    def ask_on(self) -> None:
        """Makes the calls that `may_ask` has held back. The owner calls it when the answer may have changed."""
        self._submit_held()

    def abandon(self) -> None:
        """Nobody listens any more: queued calls are dropped, results of running ones thrown away."""
        self.most_lag_s = max(self.most_lag_s, self.backlog_s)
        for job in self.calls:
            self._scheduler.cancel(job)
        self.calls.clear()
        self._held.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    @property
    def owed(self) -> int:
        """ReorderBuffer that have not been handed out: calls that are not over, and what stands behind them."""
        return sum(map(len, self._replies))

    @property
    def speaking(self) -> bool:
        """An utterance is open that only more audio, or a flush, will close."""
        return False

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that wait for the model or are in it, of the channel that is furthest behind; interims,
        which may be dropped, aside.
        """
        return max(map(self._pending_samples, range(self._n_channels))) / self._rate

    @property
    def received_s(self) -> float:
        """Seconds of audio received in this session."""
        return self._decoder.received_s

    @property
    def processed_s(self) -> float:
        """Seconds of audio that are done with, on every channel: answered, or found to hold no speech."""
        unfinished_s = max(map(self._unfinished_samples, range(self._n_channels))) / self._rate
        return max(0.0, self.received_s - unfinished_s)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work, the model's above all, per second of audio received; 0 before the first audio."""
        return self._model_s / self.received_s + self._timing.factor if self.received_s > 0 else 0.0

    # What metrics count: nanoseconds of audio, all channels added up (metrics.tally.SessionAudio).

    @property
    def received_ns(self) -> int:
        decoder = self._decoder
        return self._n_channels * decoder.received_frames * NS_PER_S // decoder.format.sample_rate

    @property
    def unfinished_ns(self) -> int:
        n_samples = sum(map(self._unfinished_samples, range(self._n_channels)))
        return min(n_samples * NS_PER_S // self._rate, self.received_ns)

    # What a route defines.

    def _take(self, planes: Samples) -> None:
        raise NotImplementedError

    def _take_timed(self, planes: Samples) -> float:
        """The same, and the seconds that the detector took, if there is one."""
        self._take(planes)
        return 0.0

    def _close(self) -> None:
        raise NotImplementedError

    def _pending_samples(self, channel: int) -> int:
        """Samples of a channel that wait for the model or are in it."""
        return self._in_calls_samples[channel]

    def _unfinished_samples(self, channel: int) -> int:
        """Samples of a channel that are not done with: these, and what no call could be made of so far."""
        return self._pending_samples(channel)

    def _answered(self, call: Call) -> None:
        """A call is over, and its reply is settled. New calls may be made here."""

    def _open_id(self, channel: int) -> int | UnsetType:
        """The id of the open segment of a channel, or of the next one; UNSET when the client asked for none."""
        return self._n_ids[channel] if self._has_ids else UNSET

    def _take_id(self, channel: int) -> int | UnsetType:
        """The same, for the last event that has it: the next segment has the next one."""
        id = self._open_id(channel)
        self._n_ids[channel] += 1
        return id

    # Model calls.

    def _new_call(
        self,
        channel: int,
        audio: Samples,
        start_pos: int,
        end_pos: int,
        is_final: bool | None = None,
        method: Method = "infer",
        state: State | None = None,
        segment_id: int | UnsetType = UNSET,
    ) -> Call:
        """A call about `audio`, whose answer has its place among the channel's replies from now on. It is the caller's
        to `_submit`.
        """
        job = Job(audio, self._rate, is_final is not False, self, self._done, method, state, self.log_context)
        reply = self._replies[channel].reserve()
        call = Call(channel, start_pos, end_pos, is_final, reply, job, self._scheduler.clock(), segment_id)
        if self.trace is not None:
            job.trace = call.trace = self.trace.asked(
                channel, start_pos / self._rate, end_pos / self._rate, is_final, method
            )
        self.calls[job] = call
        if is_final is not False:
            self._in_calls_samples[channel] += len(audio)
        return call

    def _submit(self, call: Call) -> None:
        """Asks the model, now or when it is the call's turn. The call may be over when this returns."""
        if call.is_final is not False:
            self._held.append(call)
            self._submit_held()
            return
        try:
            self._scheduler.submit(call.job)
        except VoxgateError as error:
            call.job.error = error
            self._over(call)

    def _submit_held(self) -> None:
        if self._submitting:
            return  # A call that was given up below made room for the next, which the loop there reaches.
        self._submitting = True
        try:
            while self._held and self._n_submitted < self._per_stream and self._retry is None and self.may_ask():
                call = self._held[0]
                try:
                    self._scheduler.submit(call.job)
                except VoxgateError as error:
                    if isinstance(error, Overloaded) and self._may_wait(call):
                        # The server's bounds are reached, not ours: this one comes again, and is answered in the end.
                        self._tally.limit_hits["max_jobs"] += not call.refused
                        call.refused = True
                        self._retry = self._scheduler.loop.call_later(RETRY_S, self._submit_again)
                        return
                    call.job.error = error
                    self._held.popleft()
                    self._over(call)
                else:
                    self._held.popleft()
                    self._last_submitted_s = self._scheduler.clock()
                    self._n_submitted += 1
                    call.submitted = True
        finally:
            self._submitting = False

    def _may_wait(self, call: Call) -> bool:
        """Whether a call for which there is no room may come again: until `inference.deadline_s` after it was made, or
        after a call of this stream was accepted, for behind those it waited for its own stream and not for room.
        """
        return self._scheduler.clock() < max(call.made_s, self._last_submitted_s) + self._patience_s

    def _submit_again(self) -> None:
        self._retry = None
        self._guarded(self._submit_held)

    def _done(self, job: Job) -> None:
        self._guarded(lambda: self._over(self.calls[job]))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Does what the event loop called for, and not the owner of this session: in the session's log context, and a
        failure ends the session instead of leaving it silent.
        """
        token = logs.current.set(() if self.log_context is None else (self.log_context,))
        try:
            work()
        except Exception:
            if self.on_failure is None:
                raise
            self.on_failure()
        finally:
            del work  # an exception that it holds has this frame in its traceback
            logs.current.reset(token)

    def _over(self, call: Call) -> None:
        """The only way out of a call, whether it was answered, failed, expired, refused or withdrawn."""
        job = call.job
        self.most_lag_s = max(self.most_lag_s, self.backlog_s)  # it shrinks nowhere else
        del self.calls[job]
        if call.is_final is not False:
            self._in_calls_samples[call.channel] -= len(job.audio)
            self._n_submitted -= call.submitted
        self._model_s += job.run_s / max(1, job.batch_size)
        if call.trace is not None:
            call.trace.answered(job, "superseded" if call.dropped else None)
        try:
            if not call.dropped:
                self._settle(call)
            self._answered(call)
            self._submit_held()
        finally:
            self._on_progress()

    def _settle(self, call: Call) -> None:
        event = self._answer(call)
        if isinstance(event, Segment):
            self.results += 1
        elif isinstance(event, Error):
            self.errors += 1
        self._replies[call.channel].settle(call.reply, event)

    def _answer(self, call: Call) -> Event | None:
        """What is said in answer to a call that is over; None: nothing."""
        error = call.job.error
        if error is None:
            return Segment(
                start_time=call.start_pos / self._rate,
                end_time=call.end_pos / self._rate,
                is_final=UNSET if call.is_final is None else call.is_final,
                output=call.job.result or {},
                channel=call.channel,
                segment_id=call.segment_id,
            )
        if call.is_final is False:
            return None  # An interim may be dropped; its error would be taken for the one of the final.
        return Error(message=str(error), code=error.code, channel=call.channel, segment_id=call.segment_id)

    def _drop(self, call: Call) -> None:
        """Nobody wants the answer of an interim any more: its place stays empty."""
        if not call.dropped:
            call.dropped = True
            self._replies[call.channel].settle(call.reply, None)

    def _withdraw(self, call: Call) -> bool:
        """Takes an interim back, which is then over. False: a worker has it, and it is over when that returns it."""
        if not self._scheduler.withdraw(call.job):
            return False
        self._drop(call)
        self._over(call)
        return True
