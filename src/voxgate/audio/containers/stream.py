"""The bytes of one container as they arrive: what they are is found out, and the decoder for it is opened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Final, Protocol

from voxgate.audio.containers.base import Container, MediaError, MediaLimit, UnsupportedMedia
from voxgate.audio.containers.limits import MediaLimits
from voxgate.audio.containers.sniff import SNIFF_BYTES, sniff
from voxgate.protocol.formats import AUTO, AudioFormat

__all__ = ["SUPPORTED", "MediaStream", "Opener", "RemoteContainer"]

#: Bytes that are parsed before others may run: 64 KiB of the smallest elements take a few milliseconds.
_SLICE_BYTES: Final = 65_536

#: The most of a head that is kept for a decoder process, which gets it when this process does not decode the codec.
#: Containers name their codecs earlier.
_KEPT_BYTES: Final = 262_144

#: The containers, for people.
SUPPORTED: Final = "WebM, Ogg, WAV, FLAC, MP3, MP4 or AAC"


class RemoteContainer(Protocol):
    """A container that is decoded in another process. The rules are those of `Container`, but for the waiting."""

    format: AudioFormat | None

    def push(self, data: bytes) -> AsyncGenerator[bytes]: ...

    def finish(self) -> AsyncGenerator[bytes]: ...

    def close(self) -> None: ...


class Opener(Protocol):
    """Opens decoders (`decoders.Decoders`)."""

    @property
    def limits(self) -> MediaLimits: ...

    def open_local(self, container: str, sample_rate: int | None) -> Container | None:
        """`sample_rate`: see `MediaStream`. None: only a decoder process can decode it. Raises UnsupportedMedia."""

    async def open_remote(self, container: str) -> RemoteContainer:
        """Raises UnsupportedMedia when nothing decodes it here, and Overloaded when too many streams are open."""


class MediaStream:
    """Decodes one container from its first byte on. One session; the loop's thread.

    Bytes are cut anywhere, and empty chunks are nothing. Every piece of PCM is at most a second of audio over all
    channels. A piece without bytes is work that gave no audio: others should run before the next one. The caller
    exhausts each iterator before the next call, or calls `close`, which is due in any case.

    Raises, while it iterates and after all PCM before it: MediaError, and Overloaded when too many streams are decoded.
    """

    def __init__(self, container: str, opener: Opener, sample_rate: int | None = None) -> None:
        """`container`: one of CONTAINERS, or "auto". `sample_rate`: the rate that is wanted, in Hz. A codec that has no
        rate of its own (Opus) is decoded at the nearest one that is not lower; None: at its highest.
        """
        self.format: AudioFormat | None = None
        """Of the PCM: s16 or f32, interleaved. Known before the first piece."""
        self.container: str | None = None if container == AUTO else container
        """One of CONTAINERS; None until it is known."""
        self._opener = opener
        self._sample_rate = sample_rate
        self._limits = opener.limits
        self._label = ""
        self._head = bytearray()  # everything so far, while a decoder process may need it
        self._keeps_head = True
        self._left_header_bytes: int | None = self._limits.header_bytes  # None: the header is over
        self._left_bytes = 0  # of PCM that the stream may still have
        self._local: Container | None = None
        self._remote: RemoteContainer | None = None

    @property
    def is_local(self) -> bool:
        """Whether this process decodes it, and its format is known: then `push_now` may be called."""
        return self._local is not None and self.format is not None

    def push_now(self, data: bytes) -> Iterator[bytes]:
        """As `push`, without waiting. Only while `is_local`."""
        assert self._local is not None
        for part in self._slices(data):
            yield from map(self._counted, self._local.push(part))
            if part is not data:
                yield b""

    async def push(self, data: bytes) -> AsyncGenerator[bytes]:
        """Yields the PCM that `data` completes."""
        for part in self._slices(data):
            async with contextlib.aclosing(self._push(part)) as pieces:
                async for piece in pieces:
                    yield piece
            if part is not data:
                yield b""

    async def finish(self) -> AsyncGenerator[bytes]:
        """The stream is over: yields the rest of the PCM. A stream without a byte is no error."""
        if self._local is None and self._remote is None:
            if not self._head:
                return
            self._is_recognised(is_all=True)
            async with contextlib.aclosing(self._decode(b"")) as pieces:
                async for piece in pieces:
                    yield piece
        if self._local is not None:
            for piece in self._local.finish():
                yield self._counted(piece)
        elif self._remote is not None:
            async with contextlib.aclosing(self._named(self._remote.finish())) as rest:
                async for piece in rest:
                    yield piece

    def close(self) -> None:
        """Frees everything. May be called at any time, also again."""
        if self._local is not None:
            self._local.close()
        if self._remote is not None:
            self._remote.close()
        self._head.clear()

    def _is_recognised(self, is_all: bool) -> bool:
        """Whether the container is known. `is_all`: no more bytes follow."""
        if self._label:
            return True
        found = sniff(bytes(self._head[:SNIFF_BYTES]), is_all=is_all)
        if found is None:
            return False
        if self.container is None:
            if found.container is None:
                raise UnsupportedMedia(f"this looks like {found.label}; expected {SUPPORTED}")
            self.container = found.container
        elif found.container not in (None, self.container):
            raise UnsupportedMedia(f'format.container is "{self.container}", but this looks like {found.label}')
        self._label = found.label
        return True

    async def _push(self, data: bytes) -> AsyncGenerator[bytes]:
        if self._keeps_head:
            self._head += data
            if not self._is_recognised(is_all=False):
                return
        async with contextlib.aclosing(self._decode(data)) as pieces:
            async for piece in pieces:
                yield piece

    async def _decode(self, data: bytes) -> AsyncGenerator[bytes]:
        """The PCM that `data` completes, of a known container. A decoder that is opened here gets the whole head."""
        assert self.container is not None
        refusal: UnsupportedMedia | None = None
        if self._local is None and self._remote is None:
            self._local = self._opener.open_local(self.container, self._sample_rate)
            data = bytes(self._head)
        if self._local is not None:
            try:
                for piece in self._local.push(data):
                    yield self._counted(piece)
                self._know(self._local.format)
                if len(self._head) >= _KEPT_BYTES:
                    self._drop_head()
                return
            except UnsupportedMedia as error:
                if not self._keeps_head:
                    raise
                refusal = error  # a codec that this process does not decode; a decoder process may
                self._local.close()
                self._local = None
        if self._remote is None:
            try:
                self._remote = await self._opener.open_remote(self.container)
            except UnsupportedMedia as error:
                raise refusal or UnsupportedMedia(f"this looks like {self._label}; {error}") from None
            data = bytes(self._head)
            self._drop_head()
            self._left_header_bytes = None  # the process counts: a file that it spools has no end of its header
        async with contextlib.aclosing(self._named(self._remote.push(data))) as pieces:
            async for piece in pieces:
                yield piece

    async def _named(self, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The pieces of a decoder process. An error before any audio also names what the bytes appear to be."""
        assert self._remote is not None
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    yield self._counted(piece)
                self._know(self._remote.format)
        except MediaError as error:
            if self.format is not None:
                raise
            raise type(error)(f"this looks like {self._label}, but {error}") from None

    def _know(self, format: AudioFormat | None) -> None:
        if self.format is None and format is not None:
            self.format = format
            self._left_bytes = int(self._limits.decoded_s * format.sample_rate) * format.frame_bytes
            self._drop_head()

    def _drop_head(self) -> None:
        self._keeps_head = False
        self._head.clear()

    def _counted(self, piece: bytes) -> bytes:
        if self.format is None:
            decoder = self._local or self._remote
            assert decoder is not None
            self._know(decoder.format)
        self._left_bytes -= len(piece)
        if piece:
            self._left_header_bytes = None
        if self._left_bytes < 0:
            raise MediaLimit(f"more than {self._limits.decoded_s:g} s of audio (media.decoded_s)")
        return piece

    def _slices(self, data: bytes) -> Iterator[bytes]:
        """`data` in slices; `data` itself when it is short, nothing when it is empty. A slice ends where a limit of the
        header is, so that cuts do not change where it is met. Raises MediaLimit for what comes behind it.
        """
        at = 0
        while at < len(data):
            n_bytes = min(_SLICE_BYTES, len(data) - at)
            if self._keeps_head:
                n_bytes = min(n_bytes, _KEPT_BYTES - len(self._head))
            if self._left_header_bytes is not None:
                if not self._left_header_bytes:
                    raise MediaLimit(f"no audio within {self._limits.header_bytes} bytes (media.header_bytes)")
                n_bytes = min(n_bytes, self._left_header_bytes)
                self._left_header_bytes -= n_bytes
            yield data[at : at + n_bytes]
            at += n_bytes
