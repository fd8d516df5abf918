"""What a worker process does with the calls of the server: one at a time."""

from __future__ import annotations

from collections import deque

from voxgate.inference.engine.base import State
from voxgate.inference.engine.processes.channel import Channel
from voxgate.inference.engine.processes.messages import Drop, Message, Partial, StateCall, Stop
from voxgate.inference.engine.processes.outcomes import encode_outcome
from voxgate.protocol.output import Output

__all__ = ["ChannelInterims", "Inbox", "KeptStates"]


class Inbox:
    """The messages of the server, also those that come while a call runs."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._early: deque[Message] = deque()
        self._stopped = 0
        """The newest call that the server stopped."""

    def next(self) -> Message:
        """The next message but Stop, which is too late here. Raises ChannelClosed."""
        while isinstance(message := self._early.popleft() if self._early else self._channel.receive(), Stop):
            pass
        return message

    def is_stopped(self, number: int) -> bool:
        """Whether the server stopped the running call. Raises ChannelClosed."""
        while (message := self._channel.receive_now()) is not None:
            if isinstance(message, Stop):
                self._stopped = message.number
            else:
                self._early.append(message)
        return self._stopped == number


class ChannelInterims:
    """Sends the interim results of a running call to the server (`Interims`)."""

    def __init__(self, channel: Channel, inbox: Inbox, number: int, is_wanted: bool) -> None:
        self._channel = channel
        self._inbox = inbox
        self._number = number
        self.is_wanted = is_wanted

    @property
    def is_needed(self) -> bool:
        return not self._inbox.is_stopped(self._number)

    def send(self, output: Output) -> None:
        self._channel.send(Partial(encode_outcome(output)))


class KeptStates:
    """The states that this worker keeps, by their numbers."""

    def __init__(self) -> None:
        self._states: dict[int, State] = {}

    def __len__(self) -> int:
        return len(self._states)

    def of(self, call: StateCall) -> State:
        """A new one for a number that is new."""
        return self._states.setdefault(call.state, State())

    def drop(self, message: Drop) -> None:
        for number in message.states:
            self._states.pop(number, None)
