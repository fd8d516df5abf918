"""Opens decoders: those of this process, and the bounded number of decoder processes."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable
from typing import Final, cast

from voxgate.audio.containers.base import Container, DecoderFailed, UnsupportedMedia
from voxgate.audio.containers.limits import MediaLimits
from voxgate.audio.containers.opus import has_opus
from voxgate.audio.containers.process import DecoderProcess, ProcessContainer
from voxgate.audio.containers.stream import MediaStream
from voxgate.errors import Overloaded
from voxgate.protocol.formats import CONTAINERS
from voxgate.runtime.backoff import Backoff

__all__ = ["LOCAL", "Decoders", "has_pyav"]

#: The containers that are decoded in this process: the module and the class.
LOCAL: Final = {
    "webm": ("voxgate.audio.containers.webm", "WebmContainer"),
    "ogg": ("voxgate.audio.containers.ogg", "OggContainer"),
    "wav": ("voxgate.audio.containers.wav", "WavContainer"),
    "flac": ("voxgate.audio.containers.flac", "FlacContainer"),
}

_FIRST_BACKOFF_S: Final = 0.1
_LONGEST_BACKOFF_S: Final = 10.0


def has_pyav() -> bool:
    """Whether the extra `media` is installed."""
    return importlib.util.find_spec("av") is not None


class Decoders:
    """All decoders of a server process. Belongs to the loop's thread.

    Starts nothing until a stream needs a decoder process; starts at most `limits.processes`, which serve several
    streams each. One that dies is replaced when the next stream needs it; one without streams ends after
    `limits.idle_s`.
    """

    def __init__(self, limits: MediaLimits) -> None:
        self.limits: Final = limits
        self._processes: list[DecoderProcess] = []
        self._starting: asyncio.Lock | None = None
        self._backoff = Backoff(_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S)
        self._next_start_s = 0.0
        self._n_streams = 0
        self._idle: dict[DecoderProcess, asyncio.TimerHandle] = {}
        self._is_closed = False

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers that can be decoded here, in the order of CONTAINERS."""
        if self._why_no_processes() is None:
            return CONTAINERS
        return tuple(name for name in CONTAINERS if name in LOCAL and (has_opus() or name not in ("webm", "ogg")))

    @property
    def pids(self) -> list[int]:
        """Of the decoder processes that exist at this moment."""
        return [process.pid for process in self._processes if process.pid]

    def open(self, container: str, sample_rate: int | None = None) -> MediaStream:
        """A stream of one of CONTAINERS, or "auto". It opens its decoder when it knows what it needs. `sample_rate`: as
        for `MediaStream`.
        """
        return MediaStream(container, self, sample_rate)

    def open_local(self, container: str, sample_rate: int | None) -> Container | None:
        """A decoder of this process; None: only a decoder process can decode it. Raises UnsupportedMedia."""
        if container not in LOCAL:
            return None
        module, name = LOCAL[container]
        make = cast(Callable[..., Container], getattr(importlib.import_module(module), name))
        parts_per_s = self.limits.parts_per_s
        if container in ("webm", "ogg"):
            return make(sample_rate, parts_per_s)
        return make(parts_per_s)

    async def open_remote(self, container: str) -> ProcessContainer:
        """Raises UnsupportedMedia when nothing here decodes it, Overloaded when too many streams are open, and
        DecoderFailed when no process can be started.
        """
        missing = self._why_no_processes()
        if missing is not None:
            raise UnsupportedMedia(missing)
        if self._n_streams >= self.limits.streams:
            raise Overloaded(f"{self.limits.streams} streams need a decoder process already (media.streams): try later")
        self._n_streams += 1
        try:
            process = await self._process()
        except BaseException:
            self._n_streams -= 1
            raise
        self._end_wait(process)
        return process.open(container, lambda: self._on_closed(process))

    async def close(self) -> None:
        """Ends all decoder processes, and waits for their end; their streams fail. May be called again."""
        self._is_closed = True
        processes = list(self._processes)
        for process in processes:
            process.kill()
        for process in processes:
            await process.wait_ended()

    def _why_no_processes(self) -> str | None:
        if not has_pyav():
            return "it needs PyAV on the server: install voxgate[media]"
        if not self.limits.processes:
            return "it needs a decoder process, and the server allows none (media.processes)"
        return None

    def _on_closed(self, process: DecoderProcess) -> None:
        self._n_streams -= 1
        if process.is_usable and not process.n_streams:
            loop = asyncio.get_running_loop()
            self._idle[process] = loop.call_later(self.limits.idle_s, process.kill)

    def _end_wait(self, process: DecoderProcess) -> None:
        timer = self._idle.pop(process, None)
        if timer is not None:
            timer.cancel()

    async def _process(self) -> DecoderProcess:
        """The process for one more stream: an idle one, a new one while there may be more, or that with the fewest."""
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            least = min(self._processes, key=lambda process: process.n_streams, default=None)
            if least is not None and (not least.n_streams or len(self._processes) >= self.limits.processes):
                return least
            return await self._start()

    async def _start(self) -> DecoderProcess:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_start_s - loop.time()))
        if self._is_closed:
            raise DecoderFailed("the server is shutting down")
        process = DecoderProcess(self.limits, self._on_end)
        self._processes.append(process)
        await process.start()
        return process

    def _on_end(self, process: DecoderProcess) -> None:
        self._processes.remove(process)
        self._end_wait(process)
        if process.has_failed and not process.has_decoded:
            self._next_start_s = asyncio.get_running_loop().time() + self._backoff.next_s()
        else:
            self._backoff.reset()
