"""The session machine of one client, without I/O: typed requests and audio in, actions out.

The machine parses nothing and knows no wire, clock, model or event loop. A shell gives it everything that arrives, in
order, and carries out the actions in the order they are returned::

    for action in machine.receive(request):
        ...

    actions = machine.receive_audio(data)
    if actions is None:
        session.feed(data)          # the common case: audio of an open session

The states before the end are: no start yet (the machine may wait for a token first, or for its verdict), a session is
open, stopped (no session, but a format is known), and spoiled (the container of the last session could not be decoded:
audio is dropped until the next start or stop). The actions are:

=============== ========================================================================================
CheckToken      check the token, and call ``receive_verdict`` before anything else
OpenSession     open a session; its times start at 0
Audio           feed these bytes to the open session
Flush           close the open segment now; the session goes on
Clear           drop the open segment now; the session goes on
FinishSession   end the session: send all its results, and its error if it has one, before the next action
Reply           send this event
Close           send everything that waits, then close the stream; an open session is abandoned
=============== ========================================================================================

A machine made with ``authorized=False`` accepts nothing before a start with a valid token. The shell checks the token,
and may take its time.

The shell owns the timers. ``timeout_kind`` names the one that runs: ``"start"`` from connecting until the first valid
start (nothing else resets it), then ``"idle"``, which every message resets. The idle timer must stand still while the
shell does not read (back-pressure) and while a finishing session waits for results: a client that waits is never closed
for waiting. When a timer fires, the shell calls ``receive_timeout``; a timer that fires too late does nothing.

When the format of a start is a container, the shell decodes it. It gives the format of the PCM to ``check_media``
before the first audio, and an error of the container to ``receive_media_error``.

One machine belongs to one client and is used by one thread at a time.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from voxgate.errors import InvalidStart, NotStarted, StreamTimeout, Unauthorized, VoxgateError, shown
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error, Event
from voxgate.protocol.formats import AudioFormat, ContainerFormat, Format, check_container, check_format
from voxgate.protocol.requests import Clear as ClearRequest
from voxgate.protocol.requests import KeepAlive, Request, Start, Stop, TurnOptions, VadOptions

__all__ = [
    "ROUTES",
    "Action",
    "Audio",
    "CheckToken",
    "Clear",
    "Close",
    "FinishSession",
    "Flush",
    "Limits",
    "OpenSession",
    "SessionMachine",
    "Reply",
    "Route",
    "TurnDefaults",
    "VadDefaults",
]


Route: TypeAlias = Literal["simple", "segmented", "stateful"]
ROUTES: Final[tuple[Route, ...]] = typing.get_args(Route)


class CheckToken(Struct, frozen=True, gc=False):
    """Check `token`, and call ``receive_verdict``. Always the only action."""

    token: str

    def __repr__(self) -> str:
        return "CheckToken(token='***')"


class OpenSession(Struct, frozen=True):
    """Open a session. The format of `start` is supported and its options are in range; of a container, the format of
    the PCM is yet to be known. `options` are those of the model, as `OptionsCheck` returned them.
    """

    start: Start
    options: Any = None


class Audio(Struct, frozen=True, gc=False):
    """Feed `data` to the open session: any length, cut anywhere."""

    data: bytes


class Flush(Struct, frozen=True, gc=False):
    """Close the open segment of the open session now."""


class Clear(Struct, frozen=True, gc=False):
    """Drop the open segment of the open session now."""


class FinishSession(Struct, frozen=True):
    """End the open session: send all its results and then `error`, and go on to the next action."""

    error: Error | None = None


class Reply(Struct, frozen=True):
    """Send `event`."""

    event: Event


Action: TypeAlias = CheckToken | OpenSession | Audio | Flush | Clear | FinishSession | Reply | Close

_FLUSH: Final = Flush()
_CLEAR: Final = Clear()
_FINISH: Final = FinishSession()


class Limits(typing.Protocol):
    """The settings that the machine needs, a part of config.LimitsSettings."""

    @property
    def channels(self) -> int: ...
    @property
    def min_sample_rate(self) -> int: ...
    @property
    def max_sample_rate(self) -> int: ...
    @property
    def start_timeout_s(self) -> float: ...
    @property
    def idle_timeout_s(self) -> float: ...
    @property
    def invalid_messages(self) -> int: ...
    @property
    def segment_audio_s(self) -> float: ...


def longest_segment_s(limits: Limits, n_channels: int) -> float:
    """The longest segment, in seconds, that a stream of `n_channels` may ask for."""
    return max(1.0, limits.segment_audio_s / n_channels)


class VadDefaults(typing.Protocol):
    """The server's voice-activity settings (vad.VadConfig)."""

    def merged(self, options: VadOptions, /) -> object:
        """The settings with a client's options over them. Raises InvalidStart for an option out of range."""


class TurnDefaults(typing.Protocol):
    """The server's settings of turn detection (vad.turns.TurnConfig)."""

    def merged(self, options: TurnOptions, /) -> object:
        """The settings with a client's options over them. Raises InvalidStart for an option out of range, and for a
        detector that there is not.
        """


OptionsCheck: TypeAlias = Callable[[Mapping[str, Any] | None], Any]
"""Returns a client's options for the model as the model wants them. Raises InvalidStart for wrong ones."""


def no_options(options: Mapping[str, Any] | None) -> None:
    """The OptionsCheck of a model without options. Raises InvalidStart for any."""
    if options:
        raise InvalidStart(f"options: the model takes none, got {', '.join(map(shown, list(options)[:8]))}")


class _State(Enum):
    NO_START = auto()
    OPEN = auto()
    STOPPED = auto()
    SPOILED = auto()
    CLOSED = auto()


class SessionMachine:
    """The state of one client. The module's text says how to drive it."""

    def __init__(
        self,
        limits: Limits,
        vad: VadDefaults,
        route: Route = "segmented",
        *,
        authorized: bool = True,
        check_options: OptionsCheck = no_options,
        turn: TurnDefaults | None = None,
    ) -> None:
        """`authorized`: the client needs no token any more. `turn`: None: nobody checks the options of turn detection.
        ValueError for an unknown route.
        """
        if route not in ROUTES:
            raise ValueError(f"route must be one of {', '.join(ROUTES)}, got {route!r}")
        self.route: Final = route
        self._limits = limits
        self._vad = vad
        self._turn = turn
        self._state = _State.NO_START
        self._check_options = check_options
        self._start: Start | None = None
        self._options: Any = None  # of that start
        self._n_invalid = 0
        self._audio_refused = False  # since the last request
        self._authorized = authorized
        self._unchecked: Start | None = None

    @property
    def open(self) -> bool:
        """A session is open."""
        return self._state is _State.OPEN

    @property
    def closed(self) -> bool:
        """Close was returned; the machine ignores everything from now on."""
        return self._state is _State.CLOSED

    @property
    def authorized(self) -> bool:
        """The client needs no token any more."""
        return self._authorized

    @property
    def timeout_kind(self) -> Literal["start", "idle"]:
        """The timer that runs now."""
        return "start" if self._state is _State.NO_START else "idle"

    @property
    def start(self) -> Start | None:
        """The last valid start; None before the first."""
        return self._start

    def receive(self, request: Request) -> tuple[Action, ...]:
        """One request. Raises nothing for any request a client can make."""
        if self._state is _State.CLOSED:
            return ()
        self._audio_refused = False
        try:
            return self._receive_request(request)
        except VoxgateError as error:
            return self._fail(error)

    def receive_audio(self, data: bytes) -> tuple[Action, ...] | None:
        """Audio. None: feed `data` to the open session; there is nothing else to do.

        Empty data opens nothing, and is no error in any state. Audio without a session, and without a start to resume,
        gets one error; further audio gets no reply until the next request.
        """
        if self._state is _State.OPEN:
            return None
        if not data or self._state in (_State.CLOSED, _State.SPOILED):
            return ()
        if not self._authorized:
            return self._fail(Unauthorized("audio before any token: expected a start with a token first"))
        if self._start is None:
            if self._audio_refused:
                return ()
            self._audio_refused = True
            return self._fail(NotStarted("audio before any start: expected a start message first"))
        self._state = _State.OPEN
        return (OpenSession(self._start, self._options), Audio(data))

    def receive_invalid(self, error: VoxgateError) -> tuple[Action, ...]:
        """A message that the wire could not parse. It counts toward `limits.invalid_messages`."""
        if self._state is _State.CLOSED:
            return ()
        self._audio_refused = False
        self._n_invalid += 1
        actions = self._fail(error)
        if self._n_invalid < self._limits.invalid_messages or self.closed:
            return actions
        return (*actions, self._close(CloseReason.INVALID, "too many invalid messages", "invalid_messages"))

    def check_media(self, format: Format) -> None:
        """The format of the PCM in the container of the open session. Raises InvalidStart naming what is allowed."""
        assert self._start is not None
        assert isinstance(format, AudioFormat)
        self._check_pcm(format, self._start.vad)

    def receive_media_error(self, error: VoxgateError) -> tuple[Action, ...]:
        """The container of the open session cannot be decoded, or not any further."""
        if self._state is not _State.OPEN:
            return ()
        self._state = _State.SPOILED
        finish = FinishSession(Error(str(error), error.code))
        return (finish, self._close(CloseReason(error.code), error.code)) if error.is_fatal else (finish,)

    def receive_close(self, close: Close) -> tuple[Action, ...]:
        """The wire refuses the client, for example for a message that is too large."""
        if self._state is _State.CLOSED:
            return ()
        self._state = _State.CLOSED
        return (close,)

    def receive_verdict(self, error: VoxgateError | None) -> tuple[Action, ...]:
        """The result of a CheckToken. `error`: why the token is refused; None: it is valid."""
        start, self._unchecked = self._unchecked, None
        if self._state is _State.CLOSED:  # a timeout came first
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

    def _receive_request(self, request: Request) -> tuple[Action, ...]:
        if not self._authorized:
            return self._receive_credentials(request)
        if isinstance(request, Start):
            return self._receive_start(request)
        if isinstance(request, KeepAlive):
            return ()
        if self._state is _State.NO_START and not (isinstance(request, Stop) and request.disconnect):
            name = request.__struct_config__.tag
            raise NotStarted(f"{name} before any start: expected a start message first")
        if isinstance(request, Stop):
            return self._receive_stop(request)
        if self._state is not _State.OPEN:
            return ()
        return (_CLEAR if isinstance(request, ClearRequest) else _FLUSH,)

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
        # Every check comes first: a bad start changes neither the open session nor the format that audio resumes with.
        if isinstance(start.format, ContainerFormat):
            check_container(start.format)
            if start.vad is not None:
                self._vad.merged(start.vad)
        else:
            self._check_pcm(start.format, start.vad)
        if start.turn is not None and self._turn is not None:
            self._turn.merged(start.turn)
        options = self._check_options(start.options)
        was_open = self.open
        self._start, self._options = start, options
        self._state = _State.OPEN
        opening = OpenSession(start, options)
        return (_FINISH, opening) if was_open else (opening,)

    def _check_pcm(self, format: AudioFormat, vad: VadOptions | None) -> None:
        limits = self._limits
        check_format(format, limits.channels, limits.min_sample_rate, limits.max_sample_rate)
        if vad is None:
            return
        self._vad.merged(vad)
        longest_s = longest_segment_s(limits, format.channels)
        if vad.max_segment_s is not None and vad.max_segment_s > longest_s:
            raise InvalidStart(
                f"vad.max_segment_s must be 1..{longest_s:g} s with {format.channels} channels, "
                f"got {vad.max_segment_s:g}"
            )

    def _receive_stop(self, stop: Stop) -> tuple[Action, ...]:
        actions: tuple[Action, ...] = (_FINISH,) if self._state is _State.OPEN else ()
        self._state = _State.STOPPED
        return (*actions, self._close(CloseReason.COMPLETED)) if stop.disconnect else actions

    def _fail(self, error: VoxgateError) -> tuple[Action, ...]:
        reply = Reply(Error(str(error), error.code))
        return (reply, self._close(CloseReason(error.code), error.code)) if error.is_fatal else (reply,)

    def _close(self, reason: CloseReason, text: str = "", limit: str | None = None) -> Close:
        self._state = _State.CLOSED
        return Close(reason, text, limit)
