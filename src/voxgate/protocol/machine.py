"""The session machine of one connection, without I/O: messages in, actions out.

The machine knows no socket, no clock, no model and no loop. The shell around it gives it every message in the order of
arrival and carries out the actions in the order they are returned::

    for action in protocol.receive(message):
        ...

The states before the end: no start yet (a token may be due first, or being looked at); a session is open; stopped (no
session, but a format is known). What an action asks of the shell:

=============== ========================================================================================
CheckToken      find out whether the token is good, and tell the machine with ``receive_verdict`` before anything else
OpenSession     open a session; its times start at 0
Audio           feed these bytes to the open session
Flush           close the open segment now; the session goes on
FinishSession   end the session: everything owed for it is sent before the next action is carried out
Reply           send this event
Close           everything replied so far leaves first, then the close frame; an open session is abandoned
=============== ========================================================================================

The fast path: nearly every message is audio of an open session, and needs no action. A shell asks first::

    if isinstance(message, bytes) and protocol.receive_audio(message) is None:
        runner.feed(message)        # the common case: no action, just feed it

or calls ``receive`` for everything and pays for one tuple and one struct. Both give the same session.

A machine that is made with ``authorized=False`` takes nothing but a start with a good token first. Only the shell can
tell which are good, and it may take its time.

Timers belong to the shell. ``timeout_kind`` says which one runs: ``"start"`` from connecting until the first valid
start (nothing else resets it), then ``"idle"``, reset by every message. The idle timer must stand still while the shell
is not reading (back-pressure) and while a finishing session is still owed results: a client that waits is never closed
for waiting. When a timer fires, ``receive_timeout`` says what to do; one that fires too late, for a state that is gone,
does nothing.

One machine belongs to one connection and is used by one thread at a time.
"""

from __future__ import annotations

import typing
from enum import Enum, auto
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from voxgate.errors import InvalidMessage, InvalidStart, NotStarted, StreamTimeout, Unauthorized, VoxgateError
from voxgate.protocol.events import Error, Event
from voxgate.protocol.formats import check_format
from voxgate.protocol.json_codec import parse_request
from voxgate.protocol.requests import KeepAlive, Request, Start, Stop, VadOptions

__all__ = [
    "ROUTES",
    "Action",
    "Audio",
    "CheckToken",
    "Close",
    "FinishSession",
    "Flush",
    "Limits",
    "OpenSession",
    "SessionMachine",
    "Reply",
    "Route",
    "VadDefaults",
]


Route: TypeAlias = Literal["simple", "segmented", "stateful"]
ROUTES: Final[tuple[Route, ...]] = typing.get_args(Route)


class CheckToken(Struct, frozen=True, gc=False):
    """Find out whether `token` is good, and call ``receive_verdict``. The only action of its message."""

    token: str

    def __repr__(self) -> str:
        return "CheckToken(token='***')"


class OpenSession(Struct, frozen=True):
    """Open a session as `start` asks: its format is supported and its options are in range."""

    start: Start


class Audio(Struct, frozen=True, gc=False):
    """Feed `data` to the open session: any length, cut anywhere; nothing is to be done when it is empty."""

    data: bytes


class Flush(Struct, frozen=True, gc=False):
    """Close the open segment of the open session now."""


class FinishSession(Struct, frozen=True, gc=False):
    """End the open session: send everything that is owed for it, then go on to the next action."""


class Reply(Struct, frozen=True):
    """Send `event`."""

    event: Event


class Close(Struct, frozen=True, gc=False):
    """Close the websocket with `code` and `reason` (at most 123 bytes). Always the last action."""

    code: int
    reason: str


Action: TypeAlias = CheckToken | OpenSession | Audio | Flush | FinishSession | Reply | Close

_FLUSH: Final = Flush()
_FINISH: Final = FinishSession()


class Limits(typing.Protocol):
    """What the machine must know of the settings; the `limits` section of config.Config has all of it."""

    @property
    def channels(self) -> int: ...
    @property
    def min_sample_rate(self) -> int: ...
    @property
    def max_sample_rate(self) -> int: ...
    @property
    def message_bytes(self) -> int: ...
    @property
    def start_timeout_s(self) -> float: ...
    @property
    def idle_timeout_s(self) -> float: ...
    @property
    def invalid_messages(self) -> int: ...
    @property
    def segment_audio_s(self) -> float: ...


def longest_segment_s(limits: Limits, n_channels: int) -> float:
    """How long a segment of a stream may be, whatever is asked for."""
    return max(1.0, limits.segment_audio_s / n_channels)


class VadDefaults(typing.Protocol):
    """The server's voice-activity settings (vad.VadConfig)."""

    def merged(self, options: VadOptions, /) -> object:
        """The settings with a client's options over them; raises InvalidStart for one that is out of range."""


class _State(Enum):
    NO_START = auto()
    OPEN = auto()
    STOPPED = auto()
    CLOSED = auto()


class SessionMachine:
    """The session machine of one connection. See the module's text for how to drive it.

    ``route`` does not change what the machine does (options that mean nothing on a route are checked and passed on
    alike); it is kept for who opens the sessions.
    """

    def __init__(
        self, limits: Limits, vad: VadDefaults, route: Route = "segmented", *, authorized: bool = True
    ) -> None:
        """`authorized`: no token is due, or the upgrade brought a good one."""
        if route not in ROUTES:
            raise ValueError(f"route must be one of {', '.join(ROUTES)}, got {route!r}")
        self.route: Final = route
        self._limits = limits
        self._vad = vad
        self._message_bytes = limits.message_bytes
        self._state = _State.NO_START
        self._start: Start | None = None
        self._n_invalid = 0
        self._audio_refused = False  # since the last text message
        self._authorized = authorized
        self._unchecked: Start | None = None

    # What the shell may ask

    @property
    def open(self) -> bool:
        """A session is open."""
        return self._state is _State.OPEN

    @property
    def closed(self) -> bool:
        """Close was returned; every further message and timeout is ignored."""
        return self._state is _State.CLOSED

    @property
    def authorized(self) -> bool:
        """No token is due any more."""
        return self._authorized

    @property
    def timeout_kind(self) -> Literal["start", "idle"]:
        """Which timer runs now."""
        return "start" if self._state is _State.NO_START else "idle"

    @property
    def start(self) -> Start | None:
        """The last valid start; None before the first."""
        return self._start

    # What comes in

    def receive(self, message: str | bytes) -> tuple[Action, ...]:
        """One message: text is a request, bytes are audio. Never raises for anything a client can send."""
        if not isinstance(message, str):
            actions = self.receive_audio(message)
            return (Audio(message),) if actions is None else actions
        if self._state is _State.CLOSED:
            return ()
        self._audio_refused = False
        if self._is_too_long(message):
            return self._close_too_big()
        try:
            return self._receive_request(parse_request(message))
        except InvalidMessage as error:
            self._n_invalid += 1
            if self._n_invalid < self._limits.invalid_messages:
                return self._fail(error)
            return (*self._fail(error), self._close(1008, "too many invalid messages"))
        except VoxgateError as error:
            return self._fail(error)

    def receive_audio(self, data: bytes) -> tuple[Action, ...] | None:
        """One binary message. None: feed `data` to the open session, nothing else is to be done.

        A message without bytes is no audio: it opens nothing, and is no error in any state. Audio that finds no session
        and cannot open one gets one error; further audio gets no reply until the next text message.
        """
        if len(data) > self._message_bytes:
            return () if self._state is _State.CLOSED else self._close_too_big()
        if self._state is _State.OPEN:
            return None
        if not data or self._state is _State.CLOSED:
            return ()
        if not self._authorized:
            return self._fail(Unauthorized("audio before any token: expected a start with a token first"))
        if self._start is None:
            if self._audio_refused:
                return ()
            self._audio_refused = True
            return self._fail(NotStarted("audio before any start: expected a start message first"))
        self._state = _State.OPEN
        return (OpenSession(self._start), Audio(data))

    def receive_verdict(self, error: VoxgateError | None) -> tuple[Action, ...]:
        """What has become of a CheckToken. `error`: why the token is not taken; None: it is good."""
        start, self._unchecked = self._unchecked, None
        if self._state is _State.CLOSED:  # its time was up meanwhile
            return ()
        if start is None:
            raise AssertionError("no token was to be checked")
        if error is not None:
            return self._fail(error)
        self._authorized = True
        try:
            return self._receive_start(start)
        except VoxgateError as invalid:
            return self._fail(invalid)

    def receive_timeout(self, kind: Literal["start", "idle"]) -> tuple[Action, ...]:
        """A timer of the shell fired."""
        if self._state is _State.CLOSED or (kind == "start" and self._state is not _State.NO_START):
            return ()
        if kind == "start":
            text = f"no start within {self._limits.start_timeout_s:g} s of connecting"
        else:
            text = f"no message within {self._limits.idle_timeout_s:g} s"
        return self._fail(StreamTimeout(text))

    # The machine

    def _receive_request(self, request: Request) -> tuple[Action, ...]:
        if not self._authorized:
            return self._receive_credentials(request)
        if isinstance(request, Start):
            return self._receive_start(request)
        if isinstance(request, KeepAlive):
            return ()
        if self._state is _State.NO_START and not (isinstance(request, Stop) and request.disconnect):
            name = "stop" if isinstance(request, Stop) else "flush"
            raise NotStarted(f"{name} before any start: expected a start message first")
        if isinstance(request, Stop):
            return self._receive_stop(request)
        return (_FLUSH,) if self._state is _State.OPEN else ()

    def _receive_credentials(self, request: Request) -> tuple[Action, ...]:
        if self._unchecked is not None:
            raise AssertionError("a verdict is due before the next message")
        if isinstance(request, KeepAlive):
            return ()
        if not isinstance(request, Start) or request.token is None:
            raise Unauthorized("no token: expected one in the first start, or with the request to connect")
        self._unchecked = request
        return (CheckToken(request.token),)

    def _receive_start(self, start: Start) -> tuple[Action, ...]:
        # All checks come first: a bad start leaves a running session, and the format that audio resumes with, alone.
        limits = self._limits
        check_format(start.format, limits.channels, limits.min_sample_rate, limits.max_sample_rate)
        if start.vad is not None:
            self._vad.merged(start.vad)
            longest_s = longest_segment_s(limits, start.format.channels)
            asked_s = start.vad.max_segment_s
            if asked_s is not None and asked_s > longest_s:
                n_channels = start.format.channels
                raise InvalidStart(
                    f"vad.max_segment_s must be 1..{longest_s:g} s with {n_channels} channels, got {asked_s:g}"
                )
        was_open = self.open
        self._start = start
        self._state = _State.OPEN
        return (_FINISH, OpenSession(start)) if was_open else (OpenSession(start),)

    def _receive_stop(self, stop: Stop) -> tuple[Action, ...]:
        actions: tuple[Action, ...] = (_FINISH,) if self._state is _State.OPEN else ()
        self._state = _State.STOPPED
        return (*actions, self._close(1000, "")) if stop.disconnect else actions

    def _fail(self, error: VoxgateError) -> tuple[Action, ...]:
        reply = Reply(Error(str(error), error.code))
        if error.close_code is None:
            return (reply,)
        return (reply, self._close(error.close_code, error.code))

    def _is_too_long(self, text: str) -> bool:
        if len(text) * 4 <= self._message_bytes:  # a character is at most 4 bytes of UTF-8
            return False
        return len(text) > self._message_bytes or len(text.encode("utf-8", "surrogatepass")) > self._message_bytes

    def _close_too_big(self) -> tuple[Action, ...]:
        return (self._close(1009, f"message larger than {self._message_bytes} bytes"),)

    def _close(self, code: int, reason: str) -> Close:
        self._state = _State.CLOSED
        return Close(code, reason)
