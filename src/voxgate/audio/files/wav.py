"""The header of a WAV file: RIFF, RIFX, RF64 and BW64, as finished and unfinished recorders write it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, cast

from voxgate.audio.files.errors import SoundFileError

__all__ = ["WavHeader", "header_steps", "read_header"]

# (format tag, bytes of a sample) -> the subtype that libsndfile knows it by.
_SUBTYPES: Final = {
    (1, 1): "PCM_U8",
    (1, 2): "PCM_16",
    (1, 3): "PCM_24",
    (1, 4): "PCM_32",
    (3, 4): "FLOAT",
    (3, 8): "DOUBLE",
    (6, 1): "ALAW",
    (7, 1): "ULAW",
}
_EXTENSIBLE: Final = 0xFFFE
_FORMAT_BYTES: Final = 40  # of an extensible format; the bytes after it do not concern linear samples
# Recorders that do not know the size yet write 0, or almost the largest signed or unsigned number. arecord, ffmpeg and
# SoX mean "until the end" by such a size.
_UNKNOWN_FROM_BYTES: Final = 0x7FFF_0000
_SKIP_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class WavHeader:
    """Everything before the samples.

    ``subtype``: libsndfile's name of the format of linear samples; None for other codecs. ``tag``: the number of the
    codec. ``claimed_bytes``: the length
    of the samples in the header; None when its writer did not know it. ``head_bytes``: the length of the header, which
    is the position of the samples.
    """

    subtype: str | None
    tag: int
    channels: int
    sample_rate: int
    frame_bytes: int
    is_big_endian: bool
    claimed_bytes: int | None
    head_bytes: int


def read_header(read: Callable[[int], bytes], file_bytes: int | None) -> WavHeader:
    """Reads up to the first sample.

    ``read``: returns exactly that many bytes, fewer only at the end of the file. ``file_bytes``: the length of the
    file, None for a pipe. Raises SoundFileError when the samples or the format before them are missing.
    """
    steps = header_steps(file_bytes)
    n_bytes = next(steps)
    while True:
        data = read(n_bytes)
        if len(data) < n_bytes:
            raise SoundFileError("a WAV file that ends before its first sample")
        try:
            n_bytes = steps.send(data)
        except StopIteration as end:
            return cast(WavHeader, end.value)


def header_steps(file_bytes: int | None) -> Generator[int, bytes, WavHeader]:
    """Parses the header: yields how many bytes it needs next, 1 to 65536, gets exactly these, and returns the header.
    ``file_bytes``: None for a stream. Raises SoundFileError when the format is missing.
    """
    magic = yield 12
    if magic[8:] != b"WAVE":
        raise SoundFileError("a RIFF file that holds no WAVE")
    order = ">" if magic[:4] == b"RIFX" else "<"
    riff_bytes = struct.unpack(order + "I", magic[4:8])[0]
    at = 12
    fields: tuple[int, int, int, int] | None = None
    wide_bytes: int | None = None
    while True:
        chunk = yield 8
        at += 8
        name, n_bytes = chunk[:4], struct.unpack(order + "I", chunk[4:])[0]
        if name == b"data":
            break
        kept_bytes = min(n_bytes, _FORMAT_BYTES) if name in (b"fmt ", b"ds64") else 0
        body = (yield kept_bytes) if kept_bytes else b""
        n_left = n_bytes + n_bytes % 2 - kept_bytes
        at += kept_bytes + n_left
        while n_left:
            n_left -= len((yield min(n_left, _SKIP_BYTES)))
        if name == b"fmt ":
            fields = _fields(body, order)
        elif name == b"ds64" and len(body) >= 16:
            wide_bytes = struct.unpack(order + "Q", body[8:16])[0]
    if fields is None:
        raise SoundFileError("a WAV file without a format")
    tag, channels, sample_rate, frame_bytes = fields
    subtype = _SUBTYPES.get((tag, frame_bytes // channels)) if channels and frame_bytes % channels == 0 else None
    if n_bytes == 0xFFFF_FFFF and magic[:4] in (b"RF64", b"BW64"):
        claimed_bytes = wide_bytes if wide_bytes is not None and 0 < wide_bytes < 2**62 else None
    elif n_bytes == 0:
        # Either there are no samples, or the recorder was killed before it wrote their number.
        is_whole = at < riff_bytes + 8 < _UNKNOWN_FROM_BYTES and (file_bytes is None or riff_bytes + 8 <= file_bytes)
        claimed_bytes = 0 if is_whole else None
    elif n_bytes >= _UNKNOWN_FROM_BYTES and (file_bytes is None or n_bytes > file_bytes - at):
        claimed_bytes = None
    else:
        claimed_bytes = n_bytes
    return WavHeader(subtype, tag, channels, sample_rate, frame_bytes, order == ">", claimed_bytes, at)


def _fields(body: bytes, order: str) -> tuple[int, int, int, int]:
    """Format tag, channels, rate in Hz, bytes of a frame."""
    if len(body) < 16:
        raise SoundFileError("a WAV file whose format is too short")
    tag, channels, sample_rate, _, frame_bytes = struct.unpack(order + "HHIIH", body[:14])
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack(order + "H", body[24:26])[0]
    return tag, channels, sample_rate, frame_bytes
