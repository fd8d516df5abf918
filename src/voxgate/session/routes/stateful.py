"""The stateful route: each call continues with the state of the previous one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from voxgate.inference.engine.base import State
from voxgate.protocol.events import Event
from voxgate.protocol.requests import Start
from voxgate.session.routes.calls import ModelCall, Samples
from voxgate.session.routes.grouped import GroupedHandler
from voxgate.session.routes.parts import RouteParts
from voxgate.session.routes.reorder import Emit

__all__ = ["StatefulHandler"]

NO_AUDIO: Samples = np.empty(0, np.float32)


class StatefulHandler(GroupedHandler):
    """All audio goes through `step`, in order, and `finish` closes each channel. A channel has one call at a time, so
    the next call gets all audio that arrived during the last one; channels run at once, at most `inference.per_stream`
    of them.

    A worker opens the state of a channel before the first `step`; a channel without audio has no state and no `finish`.
    Only this object and the running call refer to the state; closing the channel or abandoning the session drops it.

    A reply covers everything since the last reply of its channel, so that replies leave no gap: a call without a result
    adds its audio to the next one, and an error covers all of it. After `finish`, a segment covers the rest, without
    output if need be. When everything is answered already and `finish` has a result, its segment has no length.

    A failed `step` leaves the state as the model left it. Only a state whose call did not return (its deadline passed,
    or its worker died) is lost, because the call may still use it. The audio after it goes to a new state.
    """

    route = "stateful"

    def __init__(self, parts: RouteParts, start: Start, emit: Emit, on_progress: Callable[[], None]) -> None:
        super().__init__(parts, start, emit, on_progress)
        self._states = [State() for _ in range(self._n_channels)]
        self._is_busy = [False] * self._n_channels
        self._answered_pos = [0] * self._n_channels
        self._is_closing = False

    def abandon(self) -> None:
        super().abandon()
        self._states.clear()  # A call that never returns keeps this object alive, but no other state.

    def _close(self) -> None:
        self._is_closing = True
        super()._close()

    def _dispatch(self) -> None:
        # The channel with the most audio first.
        for channel in sorted(range(self._n_channels), key=lambda channel: -len(self._rings[channel])):
            while len(self.calls) < self._per_stream and not self._is_busy[channel] and self._call_next(channel):
                pass

    def _call_next(self, channel: int) -> bool:
        """Makes the next call of an idle channel, if there is one to make."""
        state = self._states[channel]
        if state.lost:
            state = self._states[channel] = State()
        if self._is_due(channel):
            audio, start_pos, end_pos = self._next_group(channel)
            call = self._new_call(channel, audio, start_pos, end_pos, method="step", state=state)
        elif self._is_closing and state.opened:
            self._states[channel] = State()
            end_pos = self._rings[channel].end_pos
            call = self._new_call(channel, NO_AUDIO, end_pos, end_pos, method="finish", state=state)
        else:
            return False
        self._is_busy[channel] = True
        self._submit(call)
        return True

    def _on_over(self, call: ModelCall) -> None:
        state = call.job.state
        assert state is not None
        if state.lost and call.job.error is None:
            state.lost = False  # The deadline passed at the very moment when the call returned.
        self._is_busy[call.channel] = False
        super()._on_over(call)

    def _event_of(self, call: ModelCall) -> Event | None:
        job, channel = call.job, call.channel
        call.start_pos = self._answered_pos[channel]
        has_no_result = job.error is None and job.result is None
        if has_no_result and (job.method == "step" or call.start_pos == call.end_pos):
            return None
        self._answered_pos[channel] = call.end_pos
        call.segment_id = self._take_id(channel)  # Not earlier: a call without a reply takes no id.
        return super()._event_of(call)
