"""The stream of a client: it sends audio and receives events at the same time, in one session or several."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Literal, Unpack
from urllib.parse import urlsplit

from msgspec import structs
from websockets.exceptions import ConnectionClosed

from voxgate.errors import InvalidMessage
from voxgate.observe.tracing import ClientTrace, Tracing, parse_traceparent
from voxgate.protocol.events import Draining, Error, Event, Finished, Progress, Started
from voxgate.protocol.formats import AudioFormat, Format, MediaFormat
from voxgate.protocol.json_codec import encode_request, parse_event
from voxgate.protocol.requests import Start, Stop, TurnOptions, VadOptions
from voxgate.protocol.tokens import clean_token
from voxgate.runtime import tasks

from .certificate import ClientCertificate
from .check import ResultCheck
from .clock import Clock, LoopClock
from .connection import DEFAULT_ADDR, normalize_addr
from .ending import NO_CODE, closed_error, dropped_audio
from .errors import BadEvent, ClientError, ClosedError, ConnectError, MissingResults, RejectedError, SilentServer
from .feed import Feed
from .microphone import Microphone
from .options import Options
from .recent import RecentEvents
from .reconnect import Lost, Reconnect, Resumed, is_worth_another_try, wait_s
from .sender import Sender
from .source import Source, open_source
from .timeline import Timeline, without_id
from .wires import ClientWire, Connection, check_wire, open_connection, wire_at

__all__ = ["Stream", "stream"]

# The client sends one start, audio and one stop: after any of these errors no session is open, and nothing follows.
_FATAL_CODES = ("invalid_message", "invalid_start", "not_started")
# After these, no session is open either, but results came before them. The rest of the container would be dropped.
_MEDIA_CODES = ("unsupported_media", "invalid_media", "truncated_media", "media_limit", "decoder_failed")


def stream(source: Source, **options: Unpack[Options]) -> Stream:
    """Streams `source` to a server; iterate over the result (`async for`) for its events (`voxgate.protocol`).

    `source`: a path or open binary file that soundfile reads, `(samples, rate)` with samples float -1..1 or int16 of
    shape (n,) or (channels, n), a Microphone, or raw PCM (bytes, an iterable or async iterable of bytes) together with
    `format`. Each block of an iterable is sent as soon as it is available. Files that soundfile does not read, but a
    server may (WebM, MP4), are sent as they are: then the server tells rate and channels (`Stream.media`).

    - `addr`: the server (DEFAULT_ADDR); see `normalize_addr`
    - `chunk_size`: the longest audio message, in bytes (256)
    - `real_time`: True paces the audio like a microphone, by an absolute schedule; a number is a factor, 2 is twice as
      fast. False (default) sends as fast as the server accepts audio
    - `interim_results`: request results during speech (False)
    - `stability`: interims also have the part of their text that has settled, `Segment.stable_text` (False)
    - `eager`: a result that will be the final, unless speech goes on, comes at once: `Segment.eager` (False)
    - `options`: of the model, by name, such as ``{"language": "de"}``; a server that cannot use them answers with the
      error `invalid_start`, which names the option (None)
    - `turn`: options of the server's turn detector; the results then have `Segment.turn_probability` (None)
    - `vad`, `notices`, `token`: the additive parts of the protocol (None, False, None). The token goes into the
      Authorization header, so that a server can refuse before the upgrade; with `token_in="start"` into the start
      message instead, for a network in which something strips that header
    - `certificate`: a ClientCertificate, for a server that requires one (None)
    - `trace_id`: a W3C traceparent (None)
    - `tracing`: begins a trace, or a span below `trace_id`, and sends its id to the server (None); see docs/tracing.md
    - `format`: of raw PCM; for files and arrays it may choose between s16 and f32. A ContainerFormat says that the
      source is a container, to be sent as it is
    - `as_is`: sends any file as it is, without decoding it here (False)
    - `result_timeout_s`: the longest wait for the next message once everything is sent (None: no limit)
    - `reconnect`: True, or a Reconnect with the details, continues after a lost connection and after refusals that may
      be temporary (False). Unanswered audio is sent again, so that no result is lost or repeated, and times continue;
      an utterance that was open is announced again, by a second `active`, and a stateful model begins anew. To find out
      how far silence was processed, it requests notices even when the caller does not get them. Of a container, all is
      sent again, as nobody can begin in the middle of it; results that came before do not come twice
    - `on_audio`: is called with the bytes of each message after they were sent, each byte once and in order (None)
    - `wire`: the API to speak: "native", "deepgram", "assemblyai", "openai" (Realtime), "http" (the body of a request)
      or "grpc", which ``grpc://HOST:PORT`` and ``grpcs://HOST:PORT`` mean too
    - `clock`: for tests

    Opens files at once: FileNotFoundError, SourceError, ValueError and TypeError come from this call. While iterating:
    ConnectError (RefusedError with an HTTP status), RejectedError, ClosedError, BadEvent, SilentServer, everything that
    the source raises, and at the end MissingResults. A ClientError carries the last events before it (`error.events`).
    Error events are events, not exceptions. Memory is bounded for any length of audio. Leaving the loop early closes
    the connection and abandons the work; after `Stream.stop` the outstanding results still arrive.
    """
    return Stream(source, **options)


class Stream:
    """The result of `stream`: an async iterable for one use, with the progress of the stream in its attributes.

    The arguments are those of :func:`stream`. It belongs to the event loop in which it is iterated; its attributes may
    be read from there at any time, also when the iteration is over.
    """

    def __init__(
        self,
        source: Source,
        addr: str = DEFAULT_ADDR,
        chunk_size: int = 256,
        real_time: bool | float = False,
        interim_results: bool = False,
        stability: bool = False,
        eager: bool = False,
        vad: VadOptions | None = None,
        turn: TurnOptions | None = None,
        options: Mapping[str, Any] | None = None,
        notices: bool = False,
        trace_id: str | None = None,
        tracing: Tracing | None = None,
        token: str | None = None,
        token_in: Literal["header", "start"] = "header",
        certificate: ClientCertificate | None = None,
        format: Format | None = None,
        as_is: bool = False,
        result_timeout_s: float | None = None,
        reconnect: bool | Reconnect = False,
        on_audio: Callable[[memoryview], None] | None = None,
        clock: Clock | None = None,
        wire: ClientWire = "native",
    ) -> None:
        if chunk_size < 1:
            raise ValueError(f"chunk_size: expected at least 1 byte, got {chunk_size}")
        if real_time < 0:
            raise ValueError(f"real_time: expected a factor of 0 or more, got {real_time}")
        if token_in not in ("header", "start"):
            raise ValueError(f'token_in: expected "header" or "start", got {token_in!r}')
        if token is not None:
            token = clean_token(token)
        self.addr = normalize_addr(addr)
        """The server, as a websocket URL."""
        self._microphone = source if isinstance(source, Microphone) else None
        self._source = open_source(source, format, chunk_size, as_is)
        self.format: Format = self._source.format
        """Of the sent audio: an `AudioFormat`, or the `ContainerFormat` of a file that is sent as it is."""
        self.media: MediaFormat | None = None
        """Of the audio in a container; None until the server has told it."""
        if real_time and self._source.bytes_per_s is None:
            raise ValueError("real_time: the length of this container is not known before a server has decoded it")
        self.duration_s = self._source.duration_s
        """Seconds of audio; None when unknown."""
        self.stop_sent = False
        """Whether everything is sent. Results may still be outstanding."""
        self.first_event_s: float | None = None
        """From the start message to the first event that is no notice, in seconds."""
        self.total_s: float | None = None
        """From the start message to the end of the connection, in seconds."""
        route = urlsplit(self.addr).path.rstrip("/").rpartition("/")[2]
        self.check = ResultCheck(self.channels, covering=route in ("simple", "stateful"))
        """The results of the current session so far (:class:`ResultCheck`)."""
        self._reconnect = (Reconnect() if reconnect else None) if isinstance(reconnect, bool) else reconnect
        self._notices = notices
        self._is_pcm = isinstance(self.format, AudioFormat)
        asks_notices = notices or self._reconnect is not None or not self._is_pcm
        in_start = token if token_in == "start" else None
        self._tracing = tracing
        self._start = Start(
            self.format,
            interim_results,
            trace_id,
            vad,
            asks_notices,
            in_start,
            stability=stability,
            eager=eager,
            turn=turn,
            options=None if options is None else dict(options),
        )
        self._header_token = token if token_in == "header" else None
        self._wire = wire_at(wire, self.addr)
        self.addr = check_wire(self._wire, self.addr, self._start)
        self._certificate = certificate
        if certificate is not None:
            if urlsplit(self.addr).scheme not in ("wss", "grpcs"):
                raise ValueError("a certificate needs an address that begins with wss:// or grpcs://")
            certificate.context()  # raises for files that are wrong
        self._feed = Feed(self._source.blocks, self._reconnect.backlog_bytes if self._reconnect else 0)
        self._clock = LoopClock() if clock is None else clock
        sample_bytes = self.format.sample_bytes if isinstance(self.format, AudioFormat) else 1
        bytes_per_s = self._source.bytes_per_s or math.inf
        self._sender = Sender(
            self._feed, bytes_per_s, sample_bytes, chunk_size, float(real_time), self._clock, on_audio
        )
        self._decoded_s = 0.0  # of a container: what the server has received of this session, by its notices
        self._timeline = Timeline(self.channels)
        self._last_event: Event | None = None
        self._recent = RecentEvents()
        self._result_timeout_s = result_timeout_s
        self._started_at: float | None = None
        self._used = False
        self._send_failure: Exception | None = None
        self._ended_without_code = False
        self._silence: asyncio.Timeout | None = None

    def stop(self) -> None:
        """Ends the audio here: the results of the sent audio arrive, then the iteration ends. Audio that a microphone
        recorded before this call is still sent. In the thread of the loop; a second call does nothing.
        """
        if self._microphone is not None:
            self._microphone.stop()
        else:
            self._sender.stop()

    @property
    def has_started(self) -> bool:
        """Whether a connection has been open."""
        return self._started_at is not None

    @property
    def sent_bytes(self) -> int:
        """The end of the audio that was sent; after a lost connection it moves back to the audio that is sent again."""
        return self._sender.sent_bytes

    @property
    def sent_s(self) -> float:
        """Seconds of audio sent so far; of a container, those that the server has decoded."""
        if not self._is_pcm:
            return self._timeline.offset_s + self._decoded_s
        return self._sender.sent_bytes / self._sender.bytes_per_s

    @property
    def channels(self) -> int:
        """Of the sent audio; of a container 1, until the server has told it."""
        if isinstance(self.format, AudioFormat):
            return self.format.channels
        return 1 if self.media is None else self.media.channels

    def __aiter__(self) -> AsyncGenerator[Event, None]:
        if self._used:
            raise RuntimeError("a stream can be iterated once")
        self._used = True
        return self._events()

    @property
    def _answered_s(self) -> float:
        """The second up to which every channel is answered."""
        return min(self._timeline.answered_s(self.check))

    # The only async generator of a stream. When a loop ends, asyncio closes all generators at the same time, and one
    # that iterates over another then fails.
    async def _events(self) -> AsyncGenerator[Event, None]:
        trace = None if self._tracing is None else self._begin_trace(self._tracing)
        failure: Exception | None = None
        n_failed = 0
        lost_at: float | None = None
        try:
            while True:
                answered_s = self._answered_s
                try:
                    websocket = await open_connection(
                        self._wire, self.addr, self._header_token, self._start, self._certificate
                    )
                    if lost_at is not None:
                        self._resume(self._clock.time() - lost_at)
                    if self._started_at is None:
                        self._started_at = self._clock.time()
                    lost_at = None
                    sender = tasks.spawn_task(self._send(websocket), "voxgate-client-send", "client")
                    try:
                        while (message := await self._receive(websocket)) is not None:
                            event, placed = self._read(message)
                            for one in placed:
                                self._recent.add(one, len(message))
                                yield one
                            if isinstance(event, Error) and event.code in _FATAL_CODES:
                                raise RejectedError(event.message, event.code)
                            if isinstance(event, Error) and event.code in _MEDIA_CODES:
                                self._sender.stop()
                    finally:
                        await _end_session(websocket, sender)
                    if self._failure is not None:
                        raise self._failure
                    break
                except (ClosedError, ConnectError) as error:
                    if self._reconnect is None or not is_worth_another_try(error, self._started_at is not None):
                        raise
                    if not self._is_pcm and self._feed.oldest_bytes > 0:
                        raise  # the beginning of the container is not kept any more
                    n_failed = 1 if self._answered_s > answered_s else n_failed + 1
                    if n_failed > self._reconnect.attempts:
                        raise
                    pause_s = wait_s(self._reconnect, error, n_failed)
                    unanswered_s = self.sent_s - self._answered_s
                    self._reconnect.notify(Lost(error, unanswered_s, pause_s, n_failed, self._reconnect.attempts))
                    lost_at = self._clock.time() if lost_at is None else lost_at
                await self._clock.sleep_until(self._clock.time() + pause_s)
            if problems := self._problems():
                raise MissingResults(problems)
        except Exception as error:
            if isinstance(error, ClientError):
                error.events = self._recent.all()
            failure = error
            raise
        finally:
            await self._feed.aclose()
            if self._started_at is not None:
                self.total_s = self._clock.time() - self._started_at
            if trace is not None:
                trace.end({"voxgate.sent_s": self.sent_s, "voxgate.results": self.check.n_results}, failure)

    def _begin_trace(self, tracing: Tracing) -> ClientTrace:
        parts = urlsplit(self.addr)
        where = {"server.address": parts.hostname or "", "url.path": parts.path}
        trace = tracing.client(parse_traceparent(self._start.trace_id), where)
        self._start = structs.replace(self._start, trace_id=trace.traceparent)
        return trace

    def _problems(self) -> list[str]:
        """The results that are missing although the server closed normally, one line each."""
        sent_s = self.sent_s - self._timeline.offset_s
        if not self._ended_without_code:
            return self.check.problems(sent_s)
        if not isinstance(self.format, AudioFormat):
            return self.check.problems(sent_s)
        problems = self.check.problems(sent_s, self.format.sample_rate)
        if self.check.covering or problems:
            return problems
        reason = dropped_audio(self.format, self._sender.has_cut_a_sample)
        return [] if reason is None else [reason]

    def _resume(self, away_s: float) -> None:
        """Prepares a session that begins at the end of the answered audio."""
        assert self._reconnect is not None
        if isinstance(self.format, AudioFormat):
            frame_bytes, answered_s = self.format.frame_bytes, self._answered_s
            answered_bytes = int(answered_s * self.format.sample_rate + 0.5) * frame_bytes
            kept_bytes = -(-self._feed.oldest_bytes // frame_bytes) * frame_bytes
            at_bytes = min(max(answered_bytes, kept_bytes), self._feed.end_bytes)
            gap_s = (at_bytes - answered_bytes) / self._sender.bytes_per_s
        else:
            at_bytes, gap_s, self._decoded_s = 0, 0.0, 0.0  # `_events` has seen that all of it is kept
        before, last = self.check, self._last_event
        if isinstance(last, Error) and last.code == "overloaded":
            before.n_errors -= 1  # it announced the close, in place of no result
        at_s = at_bytes / self._sender.bytes_per_s
        self._timeline.resume(before, at_s)
        self.check = ResultCheck(self.channels, before.covering)
        self.check.n_results, self.check.n_interims = before.n_results, before.n_interims
        self.check.n_errors, self._last_event = before.n_errors, None
        self._sender.rewind(at_bytes)
        self.stop_sent = False
        self._reconnect.notify(Resumed(at_s, away_s, max(0.0, gap_s)))

    async def _receive(self, websocket: Connection) -> str | bytes | None:
        """The next message; None at a good end of the connection. Raises ClosedError and SilentServer."""
        try:
            async with asyncio.timeout(None) as self._silence:
                if self.stop_sent:
                    self._await_results()
                return await websocket.recv()
        except ConnectionClosed as closed:
            if (self._failure is None or self.stop_sent) and (
                error := closed_error(closed, self.stop_sent, self.sent_s)
            ):
                raise error from None
            self._ended_without_code = closed.rcvd is not None and closed.rcvd.code == NO_CODE
            return None
        except TimeoutError:
            raise SilentServer(
                f"no message for {self._result_timeout_s:g} s after everything was sent, on an open connection"
            ) from None
        finally:
            self._silence = None

    def _read(self, message: str | bytes) -> tuple[Event, list[Event]]:
        """The event of a message, and the events that the caller gets for it. Raises BadEvent."""
        try:
            event = parse_event(message)
        except InvalidMessage as error:
            raise BadEvent(f"the server sent an invalid event: {error}") from None
        return event, self._take(event)

    def _take(self, event: Event) -> list[Event]:
        """The events that the caller gets for an event of the server."""
        if not self._is_pcm:
            self._learn(event)
        self.check.receive(event)
        self._last_event = event
        left_out = self._timeline.n_left_out
        placed = self._timeline.place(event)
        self.check.n_results -= self._timeline.n_left_out - left_out
        if self._reconnect is not None and isinstance(self.format, AudioFormat):
            answered_frames = int(self._answered_s * self.format.sample_rate)
            self._feed.forget(answered_frames * self.format.frame_bytes)
        if not self._notices:  # requested for ourselves alone
            if isinstance(event, Started | Progress | Finished | Draining):
                return []
            if self._start.notices:
                placed = [without_id(one) for one in placed]
        if self.first_event_s is None and self._started_at is not None:
            self.first_event_s = self._clock.time() - self._started_at
        return placed

    def _learn(self, event: Event) -> None:
        """What the server tells about the container, before any result."""
        if isinstance(event, Started) and event.format is not None and self.media is None:
            self.media = event.format
            self.check = ResultCheck(self.channels, self.check.covering)
            self._timeline = Timeline(self.channels)
        elif isinstance(event, Progress | Finished):
            self._decoded_s = event.received_s

    async def _send(self, websocket: Connection) -> None:
        try:
            await websocket.send(encode_request(self._start))
            await self._sender.send(websocket)
            await websocket.send(encode_request(Stop(disconnect=True)))
        except ConnectionClosed:
            pass  # the receiving side reports the reason
        except Exception as error:
            self._send_failure = error
            await websocket.close(1001)  # ends the receiving side
        else:
            self.stop_sent = True
            self._await_results()

    @property
    def _failure(self) -> Exception | None:
        return self._send_failure or self._sender.source_failure

    def _await_results(self) -> None:
        if self._result_timeout_s is not None and self._silence is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + self._result_timeout_s)


async def _end_session(websocket: Connection, sender: asyncio.Task[None]) -> None:
    try:
        sender.cancel()
        await asyncio.wait((sender,))
    finally:
        await websocket.close(1001)
