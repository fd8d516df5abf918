"""The interface of a container: bytes as they arrive become PCM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from voxgate.errors import BrokenMedia, DecoderFailed, MediaError, MediaLimit, TruncatedMedia, UnsupportedMedia
from voxgate.protocol.formats import CONTAINERS, AudioFormat

__all__ = [
    "CONTAINERS",
    "PIECE_S",
    "BrokenMedia",
    "Container",
    "DecoderFailed",
    "MediaError",
    "MediaLimit",
    "Sniffed",
    "TruncatedMedia",
    "UnsupportedMedia",
]

#: The longest audio of one piece of PCM, in seconds, over all channels: the work that may hold the event loop.
PIECE_S: Final = 1.0


class Container(Protocol):
    """One container stream that is decoded in this process, as its bytes arrive. One session; the loop's thread.

    Bytes may be cut anywhere, and chunks may be empty: the PCM, put together, is the same. After an error the object is
    not used again, except for `close`.
    """

    format: AudioFormat | None
    """Of the PCM: s16 or f32, interleaved. Set before the first piece is yielded, and constant from then on."""

    def push(self, data: bytes) -> Iterator[bytes]:
        """Yields whole frames of PCM, at most PIECE_S seconds over all channels at a time. The caller exhausts the
        iterator before the next call; the work is done while it iterates, so that it may let others run in between.
        A piece without bytes is work that gave no audio: others should run before the next one. Raises
        MediaError, after everything that could be decoded before it.
        """

    def finish(self) -> Iterator[bytes]:
        """The stream is over: yields what the codec still holds. Raises TruncatedMedia, after everything that is owed,
        when the stream ended inside of the container.
        """

    def close(self) -> None:
        """Frees the codec. May be called at any time, also again, also while an iterator is not exhausted."""


class Sniffed(NamedTuple):
    """What the first bytes of a stream appear to be."""

    container: str | None
    """One of CONTAINERS; None: nothing that the server decodes."""
    label: str
    """For people, after "this looks like": "MP3", "a JPEG image", "a playlist", "raw PCM or an unknown format"."""

    @property
    def is_raw(self) -> bool:
        """Whether it may be raw PCM: it looks like nothing else, or there is nothing."""
        return self.container is None and ("raw PCM" in self.label or self.label == "nothing")
