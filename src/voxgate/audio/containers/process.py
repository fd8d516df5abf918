"""The server's end of one decoder process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable
from typing import Final, cast

from voxgate.audio.containers.base import (
    BrokenMedia,
    DecoderFailed,
    MediaLimit,
    TruncatedMedia,
    UnsupportedMedia,
)
from voxgate.audio.containers.limits import MediaLimits
from voxgate.audio.containers.messages import Kind, Message, MessageReader, encode
from voxgate.protocol.formats import AudioFormat
from voxgate.runtime.python_process import start_python
from voxgate.runtime.tasks import run_in_thread, spawn_task

__all__ = ["DecoderProcess", "ProcessContainer"]

logger = logging.getLogger(__name__)

_WORKER: Final = "voxgate.audio.containers.av_worker"
_START_TIMEOUT_S: Final = 30.0
_DATA_BYTES: Final = 65_536
_ERRORS: Final = {kind.code: kind for kind in (UnsupportedMedia, TruncatedMedia, MediaLimit, BrokenMedia)}
_WANTED_ENDS: Final = ("was ended", "was not needed")
_FAILED: Final = "the decoder failed"


class DecoderProcess(asyncio.Protocol):
    """One process that decodes several streams. It begins with `start`; everything is on the loop's thread.

    When the process dies or does not answer in time, all its streams fail, and no others.
    """

    def __init__(self, limits: MediaLimits, on_end: Callable[[DecoderProcess], None]) -> None:
        """`on_end` is called once, when the process is not to be used any more."""
        self._limits = limits
        self._on_end = on_end
        self._reader = MessageReader()
        self._answers: dict[int, asyncio.Future[Message]] = {}  # by stream
        self._transport: asyncio.Transport | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._n_opened = 0
        self.n_streams = 0
        """The open streams."""
        self.is_usable = True
        """Whether a stream may be opened; false from its end on."""
        self.has_decoded = False
        """Whether it ever gave PCM."""
        self.has_failed = False
        """Whether it ended by itself, hung, or did not start."""

    @property
    def pid(self) -> int:
        """0 before the start."""
        return self._popen.pid if self._popen is not None else 0

    async def start(self) -> None:
        """Starts it, and waits until it serves. Raises DecoderFailed."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                arguments = {"socket_fd": theirs.fileno(), "parent_pid": os.getpid(), "limits": self._limits}
                environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # a thread a stream: each would keep its own heap
                self._popen = await run_in_thread(
                    lambda: start_python(
                        _WORKER, arguments, (theirs.fileno(),), env=environment, start_new_session=True
                    ),
                    "voxgate-decoder-start",
                    "media",
                )
            ours.setblocking(False)
            ready = self._expect(0)
            await loop.create_unix_connection(lambda: self, sock=ours)
            async with asyncio.timeout(_START_TIMEOUT_S):
                await ready
            del self._answers[0]
        except (OSError, RuntimeError, TimeoutError) as error:
            ours.close()
            self._answers.clear()
            self._end(f"did not start: {error or type(error).__name__}")
            raise DecoderFailed("the decoder did not start") from None
        except BaseException:
            ours.close()
            self._end("was not needed")
            raise

    def open(self, container: str, on_close: Callable[[], None]) -> ProcessContainer:
        """A new stream. `container`: a name of av_decoder.DEMUXERS. `on_close` is called once."""
        self._n_opened += 1
        self.n_streams += 1
        self._write(Message(Kind.OPEN, self._n_opened, container.encode()))
        return ProcessContainer(self, self._n_opened, on_close)

    async def ask(self, request: Message) -> Message:
        """The answer to a request. Raises DecoderFailed; then the process is not used any more."""
        if not self.is_usable:
            raise DecoderFailed(_FAILED)
        answer = self._expect(request.stream)
        self._write(request)
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                message = await answer
        except TimeoutError:
            self._end(f"gave no answer within {self._limits.timeout_s:g} s (media.timeout_s)")
            raise DecoderFailed(f"the decoder gave no answer within {self._limits.timeout_s:g} s") from None
        finally:
            self._answers.pop(request.stream, None)
        self.has_decoded |= message.kind is Kind.PCM
        return message

    def close_stream(self, number: int) -> None:
        """The stream is not needed any more."""
        self.n_streams -= 1
        if self.is_usable:
            self._write(Message(Kind.CLOSE, number))

    def kill(self) -> None:
        """Ends the process and its streams now."""
        self._end("was ended")

    async def wait_ended(self) -> None:
        """After `kill`: returns when the process has ended."""
        if self._reaper is not None:
            await self._reaper

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class

    def data_received(self, data: bytes) -> None:
        for message in self._reader.push(data):
            answer = self._answers.get(message.stream)
            if answer is not None and not answer.done():  # else: of a stream that was closed meanwhile
                answer.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._end("ended unexpectedly")

    # --- private ---

    def _expect(self, stream: int) -> asyncio.Future[Message]:
        answer = self._answers[stream] = asyncio.get_running_loop().create_future()
        return answer

    def _write(self, message: Message) -> None:
        if self._transport is not None:
            self._transport.write(encode(message))

    def _end(self, reason: str) -> None:
        """Kills the process. All streams that wait for it fail."""
        if not self.is_usable:
            return
        self.is_usable = False
        self.has_failed = reason not in _WANTED_ENDS
        if self._transport is not None:
            self._transport.abort()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(DecoderFailed(_FAILED))
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._reaper = spawn_task(self._reap(self._popen, reason), "voxgate-decoder-reap", "media")
        self._on_end(self)

    async def _reap(self, popen: subprocess.Popen[bytes], reason: str) -> None:
        status = await run_in_thread(popen.wait, "voxgate-decoder-wait", "media")
        if reason not in _WANTED_ENDS:
            logger.warning("the decoder process (pid %d) %s; its status is %d", popen.pid, reason, status)


class ProcessContainer:
    """A `stream.RemoteContainer` in a decoder process."""

    def __init__(self, process: DecoderProcess, number: int, on_close: Callable[[], None]) -> None:
        self.format: AudioFormat | None = None
        """Of the PCM."""
        self._process = process
        self._number = number
        self._on_close = on_close
        self._is_over = False
        self._is_closed = False

    async def push(self, data: bytes) -> AsyncGenerator[bytes]:
        """Yields the PCM that `data` completes. Raises MediaError after it."""
        for start in range(0, len(data), _DATA_BYTES):
            request = Message(Kind.DATA, self._number, data[start : start + _DATA_BYTES])
            async with contextlib.aclosing(self._answers(request)) as pieces:
                async for piece in pieces:
                    yield piece

    async def finish(self) -> AsyncGenerator[bytes]:
        """The stream is over: yields the rest of the PCM. Raises MediaError after it."""
        async with contextlib.aclosing(self._answers(Message(Kind.END, self._number))) as pieces:
            async for piece in pieces:
                yield piece

    def close(self) -> None:
        """May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._process.close_stream(self._number)
            self._on_close()

    async def _answers(self, request: Message) -> AsyncGenerator[bytes]:
        while not self._is_over:
            answer = await self._process.ask(request)
            match answer.kind:
                case Kind.WANTS:
                    return
                case Kind.PCM:
                    yield answer.data
                case Kind.HEADER:
                    channels, sample_rate, is_float = json.loads(answer.data)
                    self.format = AudioFormat(channels, sample_rate, 32 if is_float else 16, is_float)
                case Kind.OVER:
                    self._is_over = True
                case Kind.FAILED:
                    self._is_over = True
                    code, text = json.loads(answer.data)
                    raise _ERRORS.get(code, BrokenMedia)(text)
                case _:
                    raise AssertionError(f"{answer.kind.name} is no answer of a decoder")
            request = Message(Kind.MORE, self._number)
