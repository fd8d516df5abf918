"""Finals that are asked for before it is certain that the segment ends: the answer is there when it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from voxgate._native.event import VadEvent
from voxgate.errors import VoxgateError
from voxgate.inference.engine.base import Job
from voxgate.inference.outcomes import WorkerDied
from voxgate.protocol.events import SpeechResumed
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import RouteHandler
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit

if TYPE_CHECKING:
    from voxgate.observe.tracing import CallTrace

__all__ = ["SpeculatingHandler"]


NO_AUDIO: Samples = np.empty(0, np.float32)


class Speculation:
    """A call for the final of a segment that may go on."""

    __slots__ = ("channel", "end_pos", "is_dropped", "is_told", "job", "start_pos", "trace")

    def __init__(self, event: VadEvent, job: Job) -> None:
        self.channel: int = event.channel
        self.start_pos = event.start_pos
        self.end_pos = event.end_pos
        self.job = job
        self.is_dropped = False
        """Speech goes on. The call still runs, and its answer is not needed."""
        self.is_told = False
        """The client has its answer, as an eager result."""
        self.trace: CallTrace | None = None


class SpeculatingHandler(RouteHandler):
    """Makes speculative calls, at most one per channel, and finals out of them.

    Speculation gives way: its calls run after all finals, and none begins while finals wait for the model, while an
    earlier final of the channel is due, or while this stream has as many calls as it may have. It changes no event but
    the moment at which a final is emitted: a final takes the answer of a call with exactly its audio, and asks the
    model itself when there is none, or only an error. Interims are not affected.

    A client that asked for eager results gets the answer when it comes, in place of an interim that still runs.
    """

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None], rate: int) -> None:
        super().__init__(parts, start, emit, on_progress, rate)
        self._is_eager = start.eager
        self._decides_by_text = False
        """Where segments end depends on speculative calls: so they do not give way to an earlier final."""
        self._max_wait_s = parts.config.vad.speculate_max_wait_ms / 1000
        # Of each channel: the call that is queued, runs, or was answered.
        self._speculations: list[Speculation | None] = [None] * self._n_channels
        self._speculative: dict[Job, Speculation] = {}  # those that are queued or run
        self._next_speculations: list[VadEvent | None] = [None] * self._n_channels  # follow a dropped one that runs

    def abandon(self) -> None:
        super().abandon()
        for channel in range(self._n_channels):
            self._drop_speculation(channel)
        for job, speculation in self._speculative.items():
            self._scheduler.cancel(job)
            self._waste(speculation)
        self._speculative.clear()

    def _speculate(self, event: VadEvent) -> None:
        """Speech has paused: calls the model with the audio of `event`, if it has time."""
        channel = event.channel
        if event.audio is None:
            return  # Speech ended where it was cut: no final is due.
        # A final that is still due comes first, and shows that the model is behind, or the audio ahead of time.
        is_behind = self._in_calls_samples[channel] and not self._decides_by_text
        if is_behind or self._n_submitted >= self._per_stream or not self.may_submit():
            return
        if self._scheduler.queue_wait_s > self._max_wait_s:
            return
        if self._speculations[channel] is not None:
            self._next_speculations[channel] = event
            return
        request = self._request_of(channel, event.start_pos, event.end_pos, is_final=True)
        job = Job(event.audio, self._rate, True, self, self._on_speculated, context=self.log_context, request=request)
        job.group, job.speculative = self.options_group, True
        speculation = Speculation(event, job)
        if self.trace is not None:
            job.trace = speculation.trace = self.trace.speculated(
                channel, event.start_pos / self._rate, event.end_pos / self._rate
            )
        try:
            self._scheduler.submit(job)
        except VoxgateError as error:  # No room: the final is asked for when it is due.
            job.error = error
            if speculation.trace is not None:
                speculation.trace.answered(job, "superseded")
            return
        self._tally.speculations["made"] += 1
        self._speculations[channel] = self._speculative[job] = speculation

    def _resume(self, event: VadEvent) -> None:
        """Speech goes on after a pause."""
        channel = event.channel
        speculation = self._speculations[channel]
        if speculation is not None and speculation.is_told:
            self._emit(SpeechResumed(event.end_pos / self._rate, channel, self._open_id(channel)))
        self._drop_speculation(channel)

    def _drop_speculation(self, channel: int) -> None:
        """The answer is not needed: speech goes on, or the segment was dropped."""
        self._next_speculations[channel] = None
        speculation = self._speculations[channel]
        if speculation is None or self._is_withdrawn(speculation):
            return
        if speculation.job in self._speculative:
            speculation.is_dropped = True
        else:
            self._waste(speculation)

    def _is_withdrawn(self, speculation: Speculation) -> bool:
        """Takes it out of the queue. False: it runs, or is over."""
        job = speculation.job
        if job not in self._speculative or not self._scheduler.withdraw(job):
            return False
        self._tally.speculations["withdrawn"] += 1
        del self._speculative[job]
        self._speculations[speculation.channel] = None
        if speculation.trace is not None:
            speculation.trace.answered(job, "superseded")
        return True

    def _answer_segment(self, event: VadEvent, segment_id: int | UnsetType) -> None:
        """The segment of `event` is over: its final is the answer of the speculative call, or that of a new one."""
        channel = event.channel
        assert event.audio is not None
        self._next_speculations[channel] = None
        speculation = self._speculations[channel]
        if speculation is not None and not speculation.is_dropped:
            is_same = (speculation.start_pos, speculation.end_pos) == (event.start_pos, event.end_pos)
            if is_same and speculation.job.error is None and not self._is_withdrawn(speculation):
                self._use(speculation, segment_id)
                return
            self._drop_speculation(channel)
        call = self._new_call(
            channel, event.audio, event.start_pos, event.end_pos, is_final=True, segment_id=segment_id
        )
        self._submit(call)

    def _use(self, speculation: Speculation, segment_id: int | UnsetType) -> None:
        """Its call becomes that of a final: it is over, or still runs."""
        channel, job = speculation.channel, speculation.job
        self._tally.speculations["used"] += 1
        self._speculations[channel] = None
        call = self._call_of(job, channel, speculation.start_pos, speculation.end_pos, True, segment_id)
        if self.trace is not None and speculation.trace is not None:
            self.trace.became_final(channel, speculation.end_pos / self._rate, speculation.trace)
            call.trace = speculation.trace
        if job in self._speculative:
            del self._speculative[job]
            self._n_submitted += 1
            call.is_submitted = True
            self._scheduler.promote(job)
        else:
            self._over(call)

    def _on_speculated(self, job: Job) -> None:
        self._guarded(self._speculation_over, job)

    def _speculation_over(self, job: Job) -> None:
        call = self.calls.get(job)
        if call is not None:
            # A worker may die while its job is made a final: then the job has not run as one.
            if isinstance(job.error, WorkerDied) and job.attempts == 1:
                self._ask_again(call)
            else:
                self._over(call)
            return
        speculation = self._speculative.pop(job)
        job.audio = NO_AUDIO  # Nothing reads it any more, and the answer may wait for long.
        if speculation.trace is not None:
            speculation.trace.answered(job, "superseded" if speculation.is_dropped else None)
        if not speculation.is_dropped:
            self._on_speculative_answer(speculation)
            return
        self._waste(speculation)
        event = self._next_speculations[speculation.channel]
        if event is not None:
            self._next_speculations[speculation.channel] = None
            self._speculate(event)

    def _on_speculative_answer(self, speculation: Speculation) -> None:
        """Its call is over, and the silence goes on."""
        self._tell_early(speculation)

    def _tell_early(self, speculation: Speculation) -> None:
        """Sends the answer to a client that asked for eager results."""
        result = speculation.job.result
        if not self._is_eager or result is None or not self._reserved_keys.isdisjoint(result.session_keys):
            return
        channel = speculation.channel
        speculation.is_told = True
        self._drop_interim(channel)
        reply = self._reserve(channel)
        segment_id = self._open_id(channel)
        call = ModelCall(
            channel, speculation.start_pos, speculation.end_pos, False, reply, speculation.job, 0.0, segment_id
        )
        segment = self._segment_of(call, result, is_final=False)
        probability = self._turn_probability(channel)
        self._replies[channel].settle(reply, replace(segment, eager=True, turn_probability=probability))

    def _turn_probability(self, channel: int) -> float | UnsetType:
        """What a turn detector has said about the pause, for the client; UNSET: there is none."""
        return UNSET

    def _drop_interim(self, channel: int) -> None:
        """The interim of a channel is no longer needed, queued or running."""
        raise NotImplementedError

    def _waste(self, speculation: Speculation) -> None:
        """Its call is over, and nobody needs the answer."""
        self._tally.speculations["wasted"] += 1
        self._add_model_time(speculation.job)
        self._speculations[speculation.channel] = None

    def _ask_again(self, call: ModelCall) -> None:
        """Another job for a final whose job was lost."""
        lost = call.job
        del self.calls[lost]
        self._n_submitted -= call.is_submitted
        call.is_submitted = False
        job = Job(lost.audio, self._rate, True, self, self._on_done, context=self.log_context, trace=call.trace)
        job.request, job.group, job.on_partial = lost.request, lost.group, lost.on_partial
        call.job = job
        self.calls[call.job] = call
        self._deferred.appendleft(call)
        self.submit_deferred()
