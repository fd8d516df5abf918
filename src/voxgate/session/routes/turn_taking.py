"""The segmented route with a turn detector, which is asked in each pause whether the segment is over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from voxgate._native.event import VadEvent
from voxgate.inference.engine.base import Job
from voxgate.protocol.events import Segment
from voxgate.protocol.output import Output
from voxgate.protocol.requests import Start
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit
from voxgate.session.routes.segmented import SegmentedHandler, turn_of
from voxgate.session.routes.speculation import Speculation
from voxgate.vad.turns.judge import Asked

if TYPE_CHECKING:
    from voxgate.observe.tracing.turn_trace import TurnTrace

__all__ = ["TurnHandler"]


class Question:
    """An open question about a channel, at the end of the frame that the VadSession stands at."""

    __slots__ = ("asked", "audio", "trace")

    def __init__(self, audio: Samples, trace: TurnTrace | None) -> None:
        self.audio = audio
        self.trace = trace
        self.asked: Asked | None = None
        """In the hands of the judge. None: it waits for the text of a call."""


class TurnHandler(SegmentedHandler):
    """Asks the detector at the end of a frame, and stands still there, with all channels, until it has the answer or
    `turn.deadline_ms` have passed. So an answer applies where it was asked for, however late it comes and however the
    audio was cut. Audio and requests that come meanwhile wait in order; they count as backlog, which holds the client
    back as usual.
    """

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        turn, judge = turn_of(parts, start), parts.turn_judge
        assert turn is not None
        assert judge is not None
        self._turn = turn
        self._judge = judge
        self._name = turn.detector
        super().__init__(parts, start, emit, on_progress)
        self._decides_by_text = judge.needs_text
        self._shows_probability = start.turn is not None
        self._questions: dict[int, Question] = {}  # by channel
        self._answers: dict[int, float | None] = {}  # of the frame it stands at; None: silence decides
        self._probabilities: list[float | None] = [None] * self._n_channels  # that the pause ends the turn
        self._may_tell = [False] * self._n_channels  # the answer for this pause allows eager results
        self._texts: list[str | None] = [None] * self._n_channels  # of the last interim, while no later pause is over
        self._resumed_pos = [0] * self._n_channels  # where the last pause ended
        self._asked_s = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._waiting: deque[Callable[[], None]] = deque()
        self._waiting_samples = 0
        self._is_going_on = False
        self._is_finished = False

    @property
    def turn_detector(self) -> str | None:
        return self._name

    def abandon(self) -> None:
        super().abandon()
        self._waiting.clear()
        self._waiting_samples = 0
        self._drop_questions()

    @property
    def pending(self) -> int:
        return super().pending + len(self._questions) + len(self._waiting)

    def _pending_samples(self, channel: int) -> int:
        return super()._pending_samples(channel) + self._waiting_samples

    # What waits

    def _take(self, planes: Samples) -> None:
        if self.is_waiting:
            self._keep(planes)
        else:
            super()._take(planes)

    def _take_timed(self, planes: Samples) -> float:
        if not self.is_waiting:
            return super()._take_timed(planes)
        self._keep(planes)
        return 0.0

    def flush(self) -> None:
        self.in_order(super().flush)

    def emit_flushed(self) -> None:
        self.in_order(super().emit_flushed)

    def clear(self) -> None:
        self.in_order(super().clear)

    def _close(self) -> None:
        self.in_order(self._finish)

    def _finish(self) -> None:
        self._is_finished = True
        super()._close()

    def _keep(self, planes: Samples) -> None:
        self._waiting_samples += planes.shape[1]
        self._waiting.append(partial(self._take_kept, planes.copy()))

    def _take_kept(self, planes: Samples) -> None:
        self._waiting_samples -= planes.shape[1]
        self._handle(self._fed(planes))

    def in_order(self, step: Callable[[], None]) -> None:
        """`step` now, or behind what waits. A step that looks at frames must find none that ask."""
        self._waiting.append(step)
        self._go_on()

    def _go_on(self) -> None:
        """As far as there is an answer."""
        if self._is_going_on:
            return  # The loop below does it.
        self._is_going_on = True
        try:
            while not self.is_waiting:
                if not self._is_finished and (events := self._fed(self._no_audio)):
                    self._handle(events)
                    continue  # A question may have been answered at once: then more frames are left.
                if not self._waiting:
                    break
                self._waiting.popleft()()
        finally:
            self._is_going_on = False

    # Questions

    def _ask(self, questions: list[VadEvent]) -> None:
        self.is_waiting = True
        self._asked_s = self._scheduler.clock()
        for event in questions:
            assert event.audio is not None
            trace, pause_s = self.trace, event.end_pos / self._rate
            turn = None if trace is None else trace.turn_asked(event.channel, pause_s)
            self._questions[event.channel] = Question(event.audio, turn)
        self._deadline = self._scheduler.loop.call_later(self._judge.deadline_s, self._on_deadline)
        self._put_questions()

    def _put_questions(self) -> None:
        """Gives the judge those that wait for no text."""
        for channel, question in list(self._questions.items()):
            if question.asked is None and not (self._judge.needs_text and self._is_text_due(channel)):
                self._put_question(channel, question)
        self._apply_answers()

    def _is_text_due(self, channel: int) -> bool:
        """Whether a call with the audio up to this pause runs, or follows one that runs."""
        speculation = self._speculations[channel]
        if speculation is None or speculation.job not in self._speculative:
            return False
        return not speculation.is_dropped or self._next_speculations[channel] is not None

    def _put_question(self, channel: int, question: Question) -> None:
        """Gives it to the judge."""
        text = self._text(channel)
        if text is None and self._judge.needs_text:
            self._answer(channel, None, "no_text")
            return
        question.asked = self._judge.ask(question.audio, text, partial(self._on_answer, channel))
        if question.asked is None:
            self._answer(channel, None, "refused")

    def _text(self, channel: int) -> str | None:
        """The newest one of the open segment."""
        speculation = self._speculations[channel]
        result = None if speculation is None or speculation.is_dropped else speculation.job.result
        if result is None or result.transcript is None:
            return self._texts[channel]
        return result.transcript.text

    def _on_answer(self, channel: int, probability: float | None) -> None:
        self._guarded(self._take_answer, channel, probability)

    def _take_answer(self, channel: int, probability: float | None) -> None:
        self._answer(channel, probability, "failed" if probability is None else self._outcome(probability))
        self._apply_answers()

    def _outcome(self, probability: float) -> str:
        if probability >= self._turn.threshold:
            return "finished"
        return "unfinished" if probability < self._turn.unfinished_threshold else "unsure"

    def _on_deadline(self) -> None:
        self._deadline = None
        self._guarded(self._give_up)

    def _give_up(self) -> None:
        for channel, question in list(self._questions.items()):
            if question.asked is not None:
                self._judge.cancel(question.asked)
            self._answer(channel, None, "late")
        self._apply_answers()

    def _answer(self, channel: int, probability: float | None, outcome: str) -> None:
        question = self._questions.pop(channel)
        if question.trace is not None:
            question.trace.answered(outcome, probability)
        self._answers[channel] = probability
        self._tally.turns[outcome] += 1
        self._tally.turn_wait_s += self._scheduler.clock() - self._asked_s

    def _apply_answers(self) -> None:
        """When all channels have their answers: applies them, and goes on."""
        if self._questions or not self._answers:
            return
        answers, self._answers = self._answers, {}
        self._drop_questions()
        for channel in sorted(answers):
            probability = answers[channel]
            self._probabilities[channel] = probability
            self._may_tell[channel] = probability is None or probability >= self._turn.eager_threshold
            self._handle(self._session.answer(channel, self._verdict(probability)))
            speculation = self._speculations[channel]
            if self._may_tell[channel] and speculation is not None and speculation.job not in self._speculative:
                self._tell_early(speculation)
        self._go_on()
        self._on_progress()

    def _verdict(self, probability: float | None) -> int:
        outcome = "" if probability is None else self._outcome(probability)
        return {"finished": 1, "unfinished": -1}.get(outcome, 0)

    def _drop_questions(self) -> None:
        self.is_waiting = False
        for question in self._questions.values():
            if question.asked is not None:
                self._judge.cancel(question.asked)
        self._questions = {}
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Results

    def _on_speculative_answer(self, speculation: Speculation) -> None:
        if self._may_tell[speculation.channel]:
            self._tell_early(speculation)

    def _speculation_over(self, job: Job) -> None:
        super()._speculation_over(job)
        self._put_questions()

    def _segment_of(self, call: ModelCall, output: Output, is_final: bool | UnsetType) -> Segment:
        channel = call.channel
        is_of_this_pause = call.segment_id == self._open_id(channel) and call.end_pos > self._resumed_pos[channel]
        if call.is_final is False and output.transcript is not None and is_of_this_pause:
            self._texts[channel] = output.transcript.text
        return super()._segment_of(call, output, is_final)

    def _call_of(self, job: Job, channel: int, *place: Any) -> ModelCall:
        call = super()._call_of(job, channel, *place)
        if call.is_final:
            call.turn_probability = self._turn_probability(channel)
        return call

    def _turn_probability(self, channel: int) -> float | UnsetType:
        probability = self._probabilities[channel]
        return probability if self._shows_probability and probability is not None else UNSET

    # The pause, or the segment, is over

    def _resume(self, event: VadEvent) -> None:
        super()._resume(event)
        self._end_pause(event.channel)
        self._resumed_pos[event.channel] = event.end_pos

    def _answer_segment(self, event: VadEvent, segment_id: int | UnsetType) -> None:
        super()._answer_segment(event, segment_id)
        self._end_pause(event.channel)

    def _end_speech(self, channel: int, end_pos: int, segment_id: int | UnsetType, has_final: bool) -> None:
        super()._end_speech(channel, end_pos, segment_id, has_final)
        if not has_final:  # no `_answer_segment` follows
            self._end_pause(channel)

    def _close_segment(self, channel: int) -> None:
        super()._close_segment(channel)
        self._may_tell[channel] = False

    def _end_pause(self, channel: int) -> None:
        """Nothing of it counts for a later one."""
        self._probabilities[channel] = self._texts[channel] = None
        self._may_tell[channel] = False
