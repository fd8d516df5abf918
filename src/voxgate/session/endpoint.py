"""The seam between a session and the wire that carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from voxgate.errors import VoxgateError
from voxgate.protocol.closing import Close, EndReason
from voxgate.protocol.events import Event
from voxgate.protocol.requests import Request, Start

__all__ = ["Answer", "Departure", "Endpoint", "Listener", "Message", "Received", "Rejected", "Restart"]


Message: TypeAlias = str | bytes
"""What a wire sends at once: text and binary are counted apart."""


class Rejected(NamedTuple):
    """A message that the wire did not accept. It takes its place in the order of messages."""

    error: VoxgateError | None = None
    """A message that could not be parsed: the client gets this error, and it counts as an invalid message."""
    close: Close | None = None
    """The stream closes with this, for example because the message was too large."""


class Departure(NamedTuple):
    """How the client's side of the stream ended."""

    reason: EndReason
    """`left` or `lost`; or the reason for which the wire itself closed the stream, before a message was complete."""
    code: int | None = None
    """The wire's own number for it; None: it has none."""
    limit: str | None = None
    """The setting below `limits` that made the wire close the stream; None: no limit did."""


class Answer(NamedTuple):
    """A message that the wire answers itself. The answer is sent when everything received before it was carried out; a
    function makes it only then.
    """

    messages: Sequence[Message] | Callable[[], Sequence[Message]]


class Restart(NamedTuple):
    """A start in the middle of the audio, which goes on in the new session: it may cut a sample in two, which is whole
    there if the format stays the same.
    """

    start: Start


Received: TypeAlias = Request | bytes | Rejected | Answer | Restart
"""Bytes are audio, of any length and cut anywhere."""

Listener: TypeAlias = Callable[[bytes], bool]
"""Takes a message of audio at once, or returns False: then the endpoint delivers it with `receive`. Never blocks."""


class Endpoint(Protocol):
    """One client on one wire. A session calls everything on the event loop's thread.

    `receive` and `send` run concurrently, each called by one task at a time.
    """

    @property
    def departure(self) -> Departure:
        """How the client left; valid once `receive` has returned None. Until then, what a broken stream counts as."""

    def code_of(self, close: Close) -> int | None:
        """The wire's own number for `close`, for logs, traces and metrics; None: it has none."""

    async def receive(self) -> Received | None:
        """The next message; None when the client is gone. Not called while the session is too far behind: the wire
        must then hold the client back.
        """

    def listen(self, listener: Listener | None) -> None:
        """From now on, the endpoint may offer audio to `listener` before it delivers it with `receive`: in order, and
        only while nothing else waits to be received. None: no longer. A wire without such a shortcut does nothing.
        """

    def encode(self, event: Event) -> Sequence[Message]:
        """`event` in the words of the wire; empty when the wire has none for it. Called once, when the event is queued,
        so that the limits count what waits. Raises VoxgateError for a result that cannot be encoded.
        """

    def write(self, message: Message) -> bool:
        """Sends at once, if the client reads and nothing stands in front of the message. False: it was not sent, and
        `send` has to. A wire without such a way always returns False.
        """

    async def send(self, message: Message) -> None:
        """Waits while the client does not read. Does nothing when the client is gone."""

    async def close(self, close: Close) -> None:
        """Says goodbye. Nothing is sent after it. Does nothing when the client is gone."""
