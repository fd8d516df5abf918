"""The container of one open session: its bytes become PCM, and its format opens the work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Final, NamedTuple

from msgspec import structs

from voxgate.audio.containers import MediaStream, TruncatedMedia, sniff
from voxgate.audio.mixing import Mixer
from voxgate.protocol.formats import ContainerFormat, MediaFormat
from voxgate.protocol.requests import Start
from voxgate.session.routes import FEED_SLICE_S

__all__ = ["Decoding", "Undecoded", "is_raw_audio"]


def is_raw_audio(head: bytes, is_all: bool) -> bool | None:
    """Whether a stream of which nothing is known looks like raw samples, by its first bytes; else a container, or its
    error, is due. None: more bytes are needed, at most 4096. `is_all`: no more follow.
    """
    found = sniff(head, is_all)
    return None if found is None else found.is_raw


class Undecoded(NamedTuple):
    """The rest of a message that is more work than one turn of the loop should take."""

    pieces: Iterator[bytes]


class Decoding:
    """Stands before the work of a session whose start names a container. Belongs to the loop's thread.

    All methods that decode raise what `MediaStream` raises, and InvalidStart for a format that the server does not
    take; in every case, after all audio before it was fed.
    """

    def __init__(
        self,
        start: Start,
        stream: MediaStream,
        open_work: Callable[[Start, MediaFormat], None],
        feed: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        """`open_work` opens the work of the session, once, with a start that has the format of the PCM. Raises
        InvalidStart. `feed` waits until the work has taken PCM; False: the session is over.
        """
        self._start: Final = start
        self._stream: Final = stream
        self._open_work = open_work
        self._feed = feed
        self._is_open = False
        self._mixer: Mixer | None = None
        self._turn_bytes = 0
        self._fed_bytes = 0  # in this turn of the loop, at most

    async def push(self, data: bytes) -> None:
        """Feeds the PCM that `data` completes."""
        await self._take(self._stream.push(data))

    def push_now(self, data: bytes, feed: Callable[[bytes], None]) -> Undecoded | None:
        """Feeds the PCM that `data` completes, as long as this is short enough for one turn of the loop. Only after
        `can_push_now`. Returns the rest; None: there is none.
        """
        pieces = self._stream.push_now(data)
        fed_bytes = 0
        for piece in pieces:
            if piece:
                feed(piece if self._mixer is None else self._mixer.mix(piece))
            fed_bytes += len(piece)
            if not piece or fed_bytes >= self._turn_bytes:
                return Undecoded(pieces)
        return None

    @property
    def can_push_now(self) -> bool:
        """Whether this process decodes the stream, and its format is known."""
        return self._is_open and self._stream.is_local

    async def go_on(self, rest: Undecoded) -> None:
        """Feeds what `push_now` left."""
        for piece in rest.pieces:
            if not await self._feed_piece(piece):
                return

    async def finish(self, is_cut: bool) -> None:
        """Feeds what the decoder still holds. `is_cut`: the server ends the session, wherever the container is."""
        try:
            await self._take(self._stream.finish())
        except TruncatedMedia:
            if not is_cut:
                raise

    def close(self) -> None:
        """Frees the decoder."""
        self._stream.close()

    async def _take(self, pieces: AsyncGenerator[bytes]) -> None:
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                self._know_format()
                if not await self._feed_piece(piece):
                    return
        self._know_format()

    async def _feed_piece(self, piece: bytes) -> bool:
        """Others have their turn after each second of audio, and after work without any. False: the session is over."""
        if not piece or self._fed_bytes >= self._turn_bytes:
            self._fed_bytes = 0
            await asyncio.sleep(0)
        if not piece:
            return True
        self._fed_bytes += len(piece)
        return await self._feed(piece if self._mixer is None else self._mixer.mix(piece))

    def _know_format(self) -> None:
        format, container = self._stream.format, self._stream.container
        if self._is_open or format is None:
            return
        assert container is not None
        self._turn_bytes = int(FEED_SLICE_S * format.sample_rate / format.channels) * format.frame_bytes
        wish = self._start.format
        assert isinstance(wish, ContainerFormat)
        if wish.mono and format.channels > 1:
            self._mixer = Mixer(format)
            format = self._mixer.format
        media = MediaFormat(container, format.channels, format.sample_rate)
        self._open_work(structs.replace(self._start, format=format), media)
        self._is_open = True
