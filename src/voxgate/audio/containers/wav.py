"""WAV as it arrives: RIFF, RIFX, RF64 and BW64, also with sizes that are not known. Its samples pass through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from voxgate.audio.containers.base import BrokenMedia, MediaLimit, TruncatedMedia, UnsupportedMedia
from voxgate.audio.containers.pieces import in_pieces
from voxgate.audio.containers.work import PARTS_PER_S, WorkBound
from voxgate.audio.files.errors import SoundFileError
from voxgate.audio.files.wav import WavHeader, header_steps
from voxgate.protocol.formats import AudioFormat

__all__ = ["MAX_HEADER_BYTES", "WavContainer"]

MAX_HEADER_BYTES: Final = 16 * 2**20
"""Everything before the samples, tags and pictures included. They are skipped as they come."""

# (bits, float, encoding) of the formats of PCM that `files.wav` names.
_FORMATS: Final[dict[str, tuple[int, bool, str | None]]] = {
    "PCM_U8": (8, False, None),
    "PCM_16": (16, False, None),
    "PCM_24": (24, False, None),
    "PCM_32": (32, False, None),
    "FLOAT": (32, True, None),
    "DOUBLE": (64, True, None),
    "ALAW": (8, False, "alaw"),
    "ULAW": (8, False, "mulaw"),
}
_CODECS: Final = {
    0x0002: "Microsoft ADPCM",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721",
    0x0050: "MPEG audio",
    0x0055: "MP3",
    0x0065: "G.722",
    0x028F: "G.722",
    0x00FF: "AAC",
}


class WavContainer:
    """A `Container`. The samples stay as they are: ``format`` is that of the file, little-endian.

    Whatever follows the samples is ignored. Sizes of 0 or near the largest number mean: until the stream ends.
    """

    def __init__(self, parts_per_s: int = PARTS_PER_S) -> None:
        self.format: AudioFormat | None = None
        self._work = WorkBound(parts_per_s)
        self._n_steps = 0
        self._steps = header_steps(None)
        self._wanted_bytes = next(self._steps)
        self._n_header_bytes = 0
        self._rest = bytearray()
        self._left_bytes: int | None = None  # of the samples; None: unknown
        self._swapped_bytes = 0  # of a sample whose bytes are in the other order

    def push(self, data: bytes) -> Iterator[bytes]:
        """See `Container.push`."""
        at = 0
        while self.format is None:
            take = data[at : at + self._wanted_bytes - len(self._rest)]
            at += len(take)
            self._n_header_bytes += len(take)
            self._rest += take
            if len(self._rest) < self._wanted_bytes:
                return
            self._step()
        data = data[at:]
        if self._left_bytes is not None:
            data = data[: self._left_bytes]
            self._left_bytes -= len(data)
        frame_bytes = self.format.frame_bytes
        if self._rest or len(data) % frame_bytes:
            data = bytes(self._rest + data)
            n_whole = len(data) - len(data) % frame_bytes
            self._rest = bytearray(data[n_whole:])
            data = data[:n_whole]
        if self._swapped_bytes > 1:
            data = np.frombuffer(data, np.uint8).reshape(-1, self._swapped_bytes)[:, ::-1].tobytes()
        yield from in_pieces(data, self.format)

    def finish(self) -> Iterator[bytes]:
        """See `Container.finish`."""
        yield from ()
        if self.format is None:
            raise TruncatedMedia("the WAV stream ends before its first sample")
        if self._left_bytes:
            raise TruncatedMedia(f"the WAV stream ends {self._left_bytes} bytes before the end that its header gives")
        if self._rest and self._left_bytes is None:
            raise TruncatedMedia("the WAV stream ends inside of a sample")

    def close(self) -> None:
        """See `Container.close`."""

    def _step(self) -> None:
        if self._n_header_bytes > MAX_HEADER_BYTES:
            raise MediaLimit(f"a WAV stream whose samples begin after more than {MAX_HEADER_BYTES // 2**20} MiB")
        self._n_steps += 1
        if self._n_steps > self._work.most_parts:
            self._work.check(self._n_steps, 0.0)
        data = bytes(self._rest)
        self._rest.clear()
        try:
            self._wanted_bytes = self._steps.send(data)
        except SoundFileError as error:
            raise BrokenMedia(str(error)) from None
        except StopIteration as end:
            self._know(end.value)

    def _know(self, header: WavHeader) -> None:
        if header.subtype is None:
            codec = _CODECS.get(header.tag)
            if codec is None and header.tag in (1, 3, 6, 7):
                raise BrokenMedia(
                    f"a WAV stream with frames of {header.frame_bytes} bytes for {header.channels} channels"
                )
            raise UnsupportedMedia(f"a WAV file with {codec or f'codec 0x{header.tag:04X}'}; PCM is supported")
        if not header.sample_rate:
            raise BrokenMedia("a WAV stream with a sample rate of 0 Hz")
        bits, is_float, encoding = _FORMATS[header.subtype]
        self.format = AudioFormat(header.channels, header.sample_rate, bits, is_float, encoding)
        self._left_bytes = header.claimed_bytes
        if header.is_big_endian:
            self._swapped_bytes = self.format.sample_bytes
