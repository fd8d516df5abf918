"""One session of a client: the audio goes out while the events come in."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import AsyncGenerator, Iterator
from typing import Protocol, TypedDict, Unpack
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from voxgate import tasks
from voxgate.errors import InvalidMessage
from voxgate.messages import AudioFormat, Error, Event, Start, Stop, VadOptions, encode_request, parse_event

from .check import ResultCheck
from .errors import (
    BadEvent,
    ClosedError,
    ConnectError,
    MissingResults,
    RefusedError,
    RejectedError,
    SilentServer,
)
from .source import Source, off_loop, open_source

__all__ = ["DEFAULT_ADDR", "Clock", "Options", "Stream", "is_served", "normalize_addr", "stream"]

DEFAULT_ADDR = "ws://localhost:8080/api/v1/segmented"
_DEFAULT_PATH = "/api/v1/segmented"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}

_MAX_EVENT_BYTES = 16 * 1024 * 1024
_QUEUED_EVENTS = 1024  # beyond it reading pauses, and then the server's pings go unanswered
_MESSAGES_PER_TURN = 32  # then the event loop gets its turn: send() does not yield while the socket takes everything
_CLOSE_TIMEOUT_S = 1.0
# The client sends one start and then only audio and stop: with any of these no session is open, and nothing will come.
_FATAL_CODES = ("invalid_message", "invalid_start", "not_started")


class Clock(Protocol):
    """What time it is, in seconds from anywhere, and waiting for a time."""

    def time(self) -> float: ...

    async def sleep_until(self, when: float) -> None: ...


class _LoopClock:
    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep_until(self, when: float) -> None:
        if (delay := when - self.time()) > 0:
            await asyncio.sleep(delay)


class Options(TypedDict, total=False):
    """The keyword arguments of `stream`, all optional."""

    addr: str
    chunk_size: int
    real_time: bool | float
    interim_results: bool
    vad: VadOptions | None
    notices: bool
    trace_id: str | None
    token: str | None
    format: AudioFormat | None
    result_timeout_s: float | None
    clock: Clock | None


def normalize_addr(addr: str) -> str:
    """A websocket URL from what people type: `host:port` is ws, http means ws, no path means the segmented route.

    ValueError for another scheme or no host.
    """
    if "://" not in addr:
        addr = f"ws://{addr}"
    parts = urlsplit(addr)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"address: expected ws, wss, http or https, got {parts.scheme!r} in {addr!r}")
    if not parts.hostname:
        raise ValueError(f"address: expected a host in {addr!r}")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError(f"address: expected a port of 0..65535 in {addr!r}") from None
    path = _DEFAULT_PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def stream(source: Source, **options: Unpack[Options]) -> Stream:
    """Streams `source` to a server; iterate over the result (`async for`) for its events, typed as in voxgate.messages.

    `source`: a path or open binary file that soundfile reads, `(samples, rate)` with samples float -1..1 or int16 of
    shape (n,) or (channels, n), or raw PCM (bytes, an iterable or async iterable of bytes) together with `format`. Each
    block of an iterable is sent when it comes.

    - `addr`: where to (DEFAULT_ADDR); see `normalize_addr`
    - `chunk_size`: the longest audio message, in bytes (256)
    - `real_time`: True paces the audio like a microphone, by an absolute schedule; a number is a factor, 2 is twice as
      fast. False (default) sends as fast as the server takes it
    - `interim_results`: ask for results while somebody speaks (False)
    - `vad`, `notices`, `token`: the additive parts of the protocol (None, False, None). The token also goes into the
      Authorization header, so that a server may refuse before the upgrade
    - `trace_id`: a W3C traceparent (None)
    - `format`: of raw PCM; for files and arrays it may choose between s16 and f32
    - `result_timeout_s`: longest silence to bear once everything is sent (None: a slow model may take its time)
    - `clock`: for tests

    Opens files at once: FileNotFoundError, SourceError, ValueError and TypeError come from this call. While iterating:
    ConnectError (RefusedError with an HTTP status), RejectedError, ClosedError, BadEvent, SilentServer, whatever the
    source raises, and in the end MissingResults. Error events are events, not exceptions. Memory is bounded for any
    length of audio. Leaving the loop early closes the connection, which abandons the work.
    """
    return Stream(source, **options)


class Stream:
    """What `stream` returns: an async iterable, to be used once, which also knows how far it is."""

    def __init__(
        self,
        source: Source,
        addr: str = DEFAULT_ADDR,
        chunk_size: int = 256,
        real_time: bool | float = False,
        interim_results: bool = False,
        vad: VadOptions | None = None,
        notices: bool = False,
        trace_id: str | None = None,
        token: str | None = None,
        format: AudioFormat | None = None,
        result_timeout_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if chunk_size < 1:
            raise ValueError(f"chunk_size: expected at least 1 byte, got {chunk_size}")
        if real_time < 0:
            raise ValueError(f"real_time: expected a factor of 0 or more, got {real_time}")
        self.addr = normalize_addr(addr)
        self._source = open_source(source, format, chunk_size)
        self.format = self._source.format
        self.duration_s = self._source.duration_s
        """Seconds of audio; None when nobody knows."""
        self.sent_bytes = 0
        self.stop_sent = False
        self.first_event_s: float | None = None
        """From the start message to the first event, in seconds."""
        self.total_s: float | None = None
        """From the start message to the end of the connection, in seconds."""
        route = urlsplit(self.addr).path.rstrip("/").rpartition("/")[2]
        self.check = ResultCheck(self.format.channels, covering=route in ("simple", "stateful"))
        self._start = Start(self.format, interim_results, trace_id, vad, notices, token)
        self._chunk_size = chunk_size
        self._speed = float(real_time)
        self._result_timeout_s = result_timeout_s
        self._clock = _LoopClock() if clock is None else clock
        self._started_at = 0.0
        self._used = False
        self._source_failure: Exception | None = None
        self._silence: asyncio.Timeout | None = None

    @property
    def sent_s(self) -> float:
        """Seconds of audio sent so far."""
        return self.sent_bytes / (self.format.frame_bytes * self.format.sample_rate)

    def __aiter__(self) -> AsyncGenerator[Event, None]:
        if self._used:
            raise RuntimeError("a stream can be iterated once")
        self._used = True
        return self._events()

    async def _events(self) -> AsyncGenerator[Event, None]:
        websocket = await _connect(self.addr, self._start.token)
        self._started_at = self._clock.time()
        try:
            sender = tasks.spawn_task(self._send(websocket), "voxgate-client-send", "client")
            try:
                async with contextlib.aclosing(self._receive(websocket)) as events:
                    async for event in events:
                        yield event
                if self._source_failure is not None:
                    raise self._source_failure
            finally:
                sender.cancel()
                await asyncio.wait((sender,))
        finally:
            await websocket.close(1001)
            self.total_s = self._clock.time() - self._started_at
        if problems := self.check.problems(self.sent_s):
            raise MissingResults(problems)

    async def _receive(self, websocket: ClientConnection) -> AsyncGenerator[Event, None]:
        while True:
            try:
                async with asyncio.timeout(None) as self._silence:
                    if self.stop_sent:
                        self._await_results()
                    message = await websocket.recv()
            except ConnectionClosed as closed:
                if self._source_failure is None:
                    self._judge_close(closed)
                return
            except TimeoutError:
                raise SilentServer(
                    f"no message for {self._result_timeout_s:g} s after everything was sent, on an open connection"
                ) from None
            try:
                event = parse_event(message)
            except InvalidMessage as error:
                raise BadEvent(f"the server sent what is no event: {error}") from None
            if self.first_event_s is None:
                self.first_event_s = self._clock.time() - self._started_at
            self.check.receive(event)
            yield event
            if isinstance(event, Error) and event.code in _FATAL_CODES:
                raise RejectedError(event.message, event.code)

    def _judge_close(self, closed: ConnectionClosed) -> None:
        """Returns for 1000 after everything was sent; raises ClosedError otherwise."""
        if closed.rcvd is None:
            if closed.sent is not None:  # we failed the connection, because of what the server sent
                raise ClosedError(f"the connection was given up: {closed.sent.reason or closed.sent.code}") from None
            raise ClosedError("the connection was lost: the server went away without closing it") from None
        code, reason = closed.rcvd.code, closed.rcvd.reason
        if code == 1000 and self.stop_sent:
            return
        text = f"the server closed with {code}" + (f": {reason}" if reason else "")
        if not self.stop_sent:
            text += f", after {self.sent_s:.1f} s of audio and before the end of it"
        raise ClosedError(text, code, reason) from None

    async def _send(self, websocket: ClientConnection) -> None:
        try:
            await websocket.send(encode_request(self._start))
            await self._send_audio(websocket)
            await websocket.send(encode_request(Stop(disconnect=True)))
        except ConnectionClosed:
            pass  # the receiving side says why
        except Exception as error:
            self._source_failure = error
            await websocket.close(1001)  # ends the receiving side
        else:
            self.stop_sent = True
            self._await_results()

    async def _send_audio(self, websocket: ClientConnection) -> None:
        bytes_per_s = self.format.frame_bytes * self.format.sample_rate * self._speed
        n_messages = 0
        begin = self._clock.time()
        blocks = self._source.blocks
        if isinstance(blocks, Iterator):
            blocks = off_loop(blocks)
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(blocks, AsyncGenerator):
                await stack.enter_async_context(contextlib.aclosing(blocks))
            async for block in blocks:
                for chunk in _chunks(block, self._chunk_size):
                    # A microphone has a chunk once all of it was said: it leaves at the time of its end.
                    if self._speed:
                        await self._clock.sleep_until(begin + (self.sent_bytes + len(chunk)) / bytes_per_s)
                    await websocket.send(chunk)
                    self.sent_bytes += len(chunk)
                    n_messages += 1
                    if n_messages % _MESSAGES_PER_TURN == 0:
                        await asyncio.sleep(0)

    def _await_results(self) -> None:
        if self._result_timeout_s is not None and self._silence is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + self._result_timeout_s)


def _chunks(block: bytes | memoryview, size: int) -> Iterator[memoryview]:
    view = memoryview(block).cast("B")
    return (view[start : start + size] for start in range(0, len(view), size))


async def is_served(addr: str) -> bool:
    """Whether a server takes streams at `addr`, a websocket URL: False when it answers 501 or 404, and nothing else."""
    try:
        websocket = await _connect(addr, None)
    except RefusedError as error:
        return error.status not in (404, 501)
    except ConnectError:
        return True
    await websocket.close()
    return True


async def _connect(addr: str, token: str | None) -> ClientConnection:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        websocket = await connect(
            addr,
            additional_headers=headers,
            compression=None,  # PCM does not compress
            proxy=None if _is_loopback(urlsplit(addr).hostname or "") else True,
            # Pings keep middleboxes from dropping a quiet connection. Nobody waits for their answers: a server that
            # applies back-pressure does not read our pings, and a client that counted on pongs would kill itself.
            ping_interval=20,
            ping_timeout=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=_MAX_EVENT_BYTES,
            max_queue=_QUEUED_EVENTS,
        )
    except InvalidStatus as error:
        response = error.response
        body = (response.body or b"").decode("utf-8", "replace")
        raise RefusedError(response.status_code, body, response.headers.get("Retry-After")) from None
    except InvalidURI as error:
        raise ConnectError(f"cannot connect to {addr}: {error}") from None
    except InvalidHandshake as error:
        raise ConnectError(f"cannot connect to {addr}: this is no websocket server ({error})") from None
    except (OSError, EOFError) as error:
        raise ConnectError(f"cannot connect to {addr}: {_connect_reason(error)}") from None
    _notice_dead_host(websocket)
    return websocket


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _connect_reason(error: Exception) -> str:
    # asyncio puts several failures (one per address of the host) into the text of one plain OSError.
    if isinstance(error, ConnectionRefusedError) or f"Errno {errno.ECONNREFUSED}" in str(error):
        return "connection refused (is the server running?)"
    if isinstance(error, TimeoutError):
        return "no answer within 10 s"
    if isinstance(error, socket.gaierror):
        return f"unknown host ({error.strerror})"
    return str(error) or type(error).__name__


def _notice_dead_host(websocket: ClientConnection) -> None:
    """Lets the kernel find out that the other host is gone, in place of a ping timeout; a slow server does not mind."""
    raw = websocket.transport.get_extra_info("socket")
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if (option := getattr(socket, name, None)) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
