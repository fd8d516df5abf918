"""Encodes audio into containers with PyAV, as recorders do: for load runs and tests."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, BinaryIO, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from voxgate.audio.soxr import resample

__all__ = ["ENCODERS", "Encoder", "encode", "encode_live"]


class Encoder(NamedTuple):
    """FFmpeg's names. `sample_rate`: None keeps that of the audio. `live_options`: of a muxer that cannot seek."""

    muxer: str
    codec: str
    sample_rate: int | None = None
    bits_per_s: int | None = None
    live_options: Mapping[str, str] = {}


#: By the container's name.
ENCODERS: Final = {
    "webm": Encoder("webm", "libopus", 48_000, 24_000, {"live": "1", "cluster_time_limit": "100"}),
    "ogg": Encoder("ogg", "libopus", 48_000, 24_000, {"page_duration": "20000"}),
    "wav": Encoder("wav", "pcm_s16le"),
    "flac": Encoder("flac", "flac"),
    "mp3": Encoder("mp3", "libmp3lame", None, 64_000, {"write_xing": "0"}),
    "mp4": Encoder("mp4", "aac", None, 64_000, {"movflags": "frag_every_frame+empty_moov+default_base_moof"}),
    "aac": Encoder("adts", "aac", None, 64_000),
}


def encode(planes: NDArray[np.float32], sample_rate: int, container: str, codec: str | None = None) -> bytes:
    """A whole file of `planes`, float32 (channels, samples) at `sample_rate` Hz. MP4 has its index at the end.

    `codec`: another of FFmpeg's encoders. Raises ImportError without the extra `media`.
    """
    file = io.BytesIO()
    encoder = ENCODERS[container]
    for _ in _mux(planes, sample_rate, encoder._replace(codec=codec or encoder.codec, live_options={}), file, None):
        pass
    return file.getvalue()


def encode_live(planes: NDArray[np.float32], sample_rate: int, container: str, chunk_ms: int) -> list[bytes]:
    """The same as a live recorder sends it: what it has written after each `chunk_ms` of audio, the rest with the last.
    Chunks may be empty. Raises ImportError without the extra `media`.
    """
    file = _Sink()
    chunks = []
    for _ in _mux(planes, sample_rate, ENCODERS[container], cast(BinaryIO, file), chunk_ms):
        chunks.append(bytes(file.written))
        file.written.clear()
    if chunks and file.written:
        chunks[-1] += bytes(file.written)
    return chunks


class _Sink:
    """A file that cannot seek."""

    def __init__(self) -> None:
        self.written = bytearray()

    def write(self, data: bytes) -> int:
        self.written += data
        return len(data)


def _mux(
    planes: NDArray[np.float32], sample_rate: int, encoder: Encoder, file: BinaryIO, chunk_ms: int | None
) -> Iterator[None]:
    """Yields after each chunk, the last time before the end of the file is written; None: the whole is one chunk."""
    import av

    rate = encoder.sample_rate or sample_rate
    audio = np.ascontiguousarray(resample(planes, sample_rate, rate))
    layout = {1: "mono", 2: "stereo"}.get(len(audio), f"{len(audio)}c")
    step = audio.shape[1] if chunk_ms is None else rate * chunk_ms // 1000
    options = {**encoder.live_options, "flush_packets": "1", "fflags": "+bitexact"}
    with av.open(file, "w", format=encoder.muxer, options=options) as output:
        track: Any = output.add_stream(encoder.codec, rate=rate, layout=layout)
        if encoder.bits_per_s is not None:
            track.bit_rate = encoder.bits_per_s
        track.codec_context.open()
        size = track.codec_context.frame_size or 1024
        fifo = av.AudioResampler(track.codec_context.format.name, layout, rate, frame_size=size)
        for start in range(0, audio.shape[1], max(1, step)):
            part = np.ascontiguousarray(audio[:, start : start + step])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            is_last = start + step >= audio.shape[1]
            for one in (*fifo.resample(frame), *(fifo.resample(None) if is_last else ())):
                output.mux(track.encode(one))
            if is_last:
                output.mux(track.encode(None))
            yield
