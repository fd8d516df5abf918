"""What WebM and Ogg have in common: packets of a demuxer become the PCM of one stream after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Protocol

from voxgate._native.ogg import HEAD
from voxgate.audio.containers.base import MediaError, TruncatedMedia, UnsupportedMedia
from voxgate.audio.containers.errors import raise_error
from voxgate.audio.containers.flac_packets import FlacStream
from voxgate.audio.containers.opus import OpusStream
from voxgate.audio.containers.pieces import in_pieces, piece_bytes
from voxgate.audio.containers.work import PARTS_PER_S, WorkBound
from voxgate.protocol.formats import AudioFormat

__all__ = ["PacketContainer"]

_SILENT_PARTS: Final = 100
"""The work for a decoder that is opened again, or for a packet of which nothing is heard, in parts of `WorkBound`."""


class Demuxer(Protocol):
    """`voxgate._native.ogg.OggDemuxer` and `voxgate._native.webm.WebmDemuxer`."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def read(self) -> Any: ...

    @property
    def n_parts(self) -> int: ...

    @property
    def error(self) -> tuple[str, str] | None: ...

    @property
    def is_truncated(self) -> bool: ...


class PacketContainer(ABC):
    """A `Container` that is demuxed and decoded in this process; see `voxgate.audio.containers.base`.

    ``sample_rate``: of the model, in Hz; Opus is decoded at the lowest of its rates that is not below it (None: 48000).
    """

    label: ClassVar[str]
    """For people: "WebM", "Ogg"."""
    demuxer: ClassVar[type[Demuxer]]

    def __init__(self, sample_rate: int | None = None, parts_per_s: int = PARTS_PER_S) -> None:
        self.format: AudioFormat | None = None
        self._piece_bytes = 0
        self._n_pcm_bytes = 0
        self._n_silent = 0
        self._work = WorkBound(parts_per_s)
        self._demuxer = self.demuxer()
        self._sample_rate = sample_rate
        self._stream: OpusStream | FlacStream | None = None

    @abstractmethod
    def open_stream(self, event: Any) -> OpusStream | FlacStream:
        """The decoder for the HEAD event of the demuxer."""

    def push(self, data: bytes) -> Iterator[bytes]:
        """See `Container.push`."""
        self._demuxer.feed(data)
        yield from self._pieces()

    def finish(self) -> Iterator[bytes]:
        """See `Container.finish`."""
        self._demuxer.end()
        yield from self._pieces()
        if self._demuxer.is_truncated:
            raise TruncatedMedia(f"the {self.label} stream ends inside of the container")

    def close(self) -> None:
        """See `Container.close`."""
        self._stream = None

    def _pieces(self) -> Iterator[bytes]:
        decoded = self._decoded()
        parts: list[bytes] = []
        n_bytes = 0
        failure: MediaError | None = None
        while failure is None:
            try:
                pcm = next(decoded)
            except StopIteration:
                break
            except MediaError as error:
                failure = error
                break
            if not pcm:
                self._n_silent += 1
                yield b""
                continue
            self._n_pcm_bytes += len(pcm)
            parts.append(pcm)
            n_bytes += len(pcm)
            if n_bytes >= self._piece_bytes:
                joined = b"".join(parts)
                n_whole = n_bytes // self._piece_bytes * self._piece_bytes
                parts, n_bytes = [joined[n_whole:]], n_bytes - n_whole
                yield from in_pieces(joined[:n_whole], self._format())
        if n_bytes:
            yield b"".join(parts)
        if failure is not None:
            raise failure

    def _decoded(self) -> Iterator[bytes]:
        while (event := self._demuxer.read()) is not None:
            self._check()
            if event[0] == HEAD:
                stream = self.open_stream(event)
                if self.format is None:
                    self.format = stream.format
                    self._piece_bytes = piece_bytes(stream.format)
                elif stream.format != self.format:
                    raise UnsupportedMedia(
                        f"the {self.label} stream changes from {_described(self.format)} to {_described(stream.format)}"
                    )
                if self._stream is not None:
                    yield b""  # a file may be all links and no audio, and a decoder takes a while to open
                self._stream = stream
            else:
                assert self._stream is not None
                yield from self._stream.take(event[1], *event[3:])
        raise_error(self._demuxer.error)
        self._check()

    def _check(self) -> None:
        n_parts = self._demuxer.n_parts + _SILENT_PARTS * self._n_silent
        if n_parts > self._work.most_parts:
            format = self.format
            self._work.check(n_parts, self._n_pcm_bytes / format.frame_bytes / format.sample_rate if format else 0.0)

    def _format(self) -> AudioFormat:
        assert self.format is not None
        return self.format


def _described(format: AudioFormat) -> str:
    return f"{format.channels} channel{'' if format.channels == 1 else 's'} at {format.sample_rate} Hz"
