"""The stateful route: each call goes on where the one before it left off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from voxgate.inference.engine.base import State
from voxgate.protocol.events import Event
from voxgate.protocol.requests import Start
from voxgate.session.routes.base import Call, Emit, Samples
from voxgate.session.routes.grouped import GroupedRunner

if TYPE_CHECKING:
    from voxgate.session.context import SessionContext

NO_AUDIO: Samples = np.empty(0, np.float32)


class StatefulRunner(GroupedRunner):
    """All audio goes through `step`, in order, and `finish` closes each channel. A channel has one call at a time, so
    that whatever arrived during a call goes into the next one together; channels run at once, up to
    `inference.per_stream` of them.

    The state of a channel is opened on a worker, in front of the first `step`; a channel without audio has none, and no
    `finish`. It is held here and by the running call alone, and let go when the channel is closed or the session is
    abandoned.

    A reply is about everything since the last reply of its channel, so that replies leave no gap: a call with nothing
    to say adds its audio to the next one, and an error stands for all of it. What is still unanswered after `finish` is
    answered with a segment, if need be without output. So is a `finish` which has something to say when everything is
    answered already: its segment has no length.

    A failed `step` leaves the state as the model left it. Only a state whose call did not return (it ran out of time,
    or its worker died) is lost: it may still be in use. The audio after it goes to a new state.
    """

    route = "stateful"

    def __init__(self, context: SessionContext, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(context, start, emit, on_progress)
        self._states = [State() for _ in range(self._n_channels)]
        self._busy = [False] * self._n_channels
        self._answered_pos = [0] * self._n_channels
        self._closing = False

    def abandon(self) -> None:
        super().abandon()
        self._states.clear()  # A call that never returns keeps its own state, and through us no other.

    def _close(self) -> None:
        self._closing = True
        super()._close()

    def _dispatch(self) -> None:
        # The channel that waits longest first: it has most to ask about.
        for channel in sorted(range(self._n_channels), key=lambda channel: -len(self._rings[channel])):
            while len(self.calls) < self._per_stream and not self._busy[channel] and self._ask_next(channel):
                pass

    def _ask_next(self, channel: int) -> bool:
        """Makes the next call of an idle channel, if there is one to make."""
        state = self._states[channel]
        if state.lost:
            state = self._states[channel] = State()
        if self._is_due(channel):
            audio, start_pos, end_pos = self._next_group(channel)
            call = self._new_call(channel, audio, start_pos, end_pos, method="step", state=state)
        elif self._closing and state.opened:
            self._states[channel] = State()
            end_pos = self._rings[channel].end_pos
            call = self._new_call(channel, NO_AUDIO, end_pos, end_pos, method="finish", state=state)
        else:
            return False
        self._busy[channel] = True
        self._submit(call)
        return True

    def _answered(self, call: Call) -> None:
        state = call.job.state
        assert state is not None
        if state.lost and call.job.error is None:
            state.lost = False  # given up at the very moment in which the call returned
        self._busy[call.channel] = False
        super()._answered(call)

    def _answer(self, call: Call) -> Event | None:
        job, channel = call.job, call.channel
        call.start_pos = self._answered_pos[channel]
        says_nothing = job.error is None and job.result is None
        if says_nothing and (job.call == "step" or call.start_pos == call.end_pos):
            return None
        self._answered_pos[channel] = call.end_pos
        call.segment_id = self._take_id(channel)  # here, for a call that says nothing has none
        return super()._answer(call)
