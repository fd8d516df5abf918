"""From wire bytes to planes at the model's rate, and whole files.

Planes are float32, shape (channels, samples), full scale -1..1.
"""

from __future__ import annotations

from functools import lru_cache
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from ._native.intake import Intake
from ._native.pcm import PcmDecoder
from ._native.resample import MAX_RATE, MIN_RATE, Resampler
from ._native.session import VadSession
from .messages import AudioFormat

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["RESAMPLERS", "SOXR_QUALITIES", "SoxrResampler", "StreamDecoder", "read_audio", "resample"]

#: The resamplers of a stream.
RESAMPLERS: Final = ("polyphase", "soxr")
#: soxr's levels of quality, the quickest first.
SOXR_QUALITIES: Final = ("QQ", "LQ", "MQ", "HQ", "VHQ")

_BLOCK_FRAMES: Final = 65_536

Planes = NDArray[np.float32]

# soxr and sound_files are imported where they are used: a server with the built-in resampler needs neither.


class StreamDecoder:
    """The way of one session's audio: PCM bytes, cut anywhere, to planes at ``sample_rate`` Hz.

    However the bytes are cut, the samples are the same, and n received frames give exactly
    floor(n * sample_rate / rate + 1/2) samples per channel, aligned with what was received.

    ``resampler``: ``"polyphase"`` (to 16 kHz it delays by 1.5 ms, from 8 kHz by 2.9 ms) or ``"soxr"`` with one of its
    quality levels ``soxr_quality`` (QQ, LQ, MQ, HQ, VHQ; HQ delays by 38 ms from 48 kHz, by 117 ms from 8 kHz). Where
    the rates are equal, neither is used. ``format`` must have passed :func:`voxgate.messages.check_format`. ValueError
    names an option that is out of range.
    Threads: one caller at a time.
    """

    def __init__(
        self, format: AudioFormat, sample_rate: int, resampler: str = "polyphase", soxr_quality: str = "HQ"
    ) -> None:
        _check_choice("resampler", resampler, RESAMPLERS)
        _check_choice("soxr_quality", soxr_quality, SOXR_QUALITIES)
        _check_rate("sample_rate", sample_rate)
        self.format = format
        """Of the bytes."""
        self.sample_rate = sample_rate
        """Of the planes, in Hz."""
        self._decoder = PcmDecoder(format.pcm_encoding, format.channels)
        self._resampler: Resampler | SoxrResampler | None = None
        if format.sample_rate != sample_rate:
            if resampler == "soxr":
                self._resampler = SoxrResampler(format.sample_rate, sample_rate, format.channels, soxr_quality)
            else:
                self._resampler = Resampler(format.sample_rate, sample_rate, format.channels)

    def push(self, data: Buffer) -> Planes:
        """Take bytes of any length, cut anywhere; give the samples that became ready, float32 (channels, m), m >= 0."""
        planes = self._decoder.push(data)
        return planes if self._resampler is None else self._resampler.push(planes)

    def finish(self) -> Planes:
        """The rest of the stream, float32 (channels, m): a trailing partial frame (missing samples are 0) and what the
        resampler still held.

        The next push begins a new stream; until then ``received_s`` keeps its value.
        """
        planes = self._decoder.finish()
        if self._resampler is None:
            return planes
        return np.concatenate([self._resampler.push(planes), self._resampler.finish()], axis=1)

    def intake(self, session: VadSession) -> Intake | None:
        """A shorter way into `session`, whose rate is ``sample_rate``, than pushing and feeding; None with soxr."""
        if isinstance(self._resampler, SoxrResampler):
            return None
        return Intake(self._decoder, self._resampler, session)

    @property
    def received_frames(self) -> int:
        """Samples of each channel received in this stream, at the rate of the format, in complete frames; after finish
        with the partial one.
        """
        return self._decoder.received_frames

    @property
    def delay_s(self) -> float:
        """How long after its arrival a sample may have to wait for others before it can leave, in seconds."""
        return 0.0 if self._resampler is None else self._resampler.delay_s

    @property
    def received_s(self) -> float:
        """The same in seconds."""
        return self.received_frames / self.format.sample_rate


class SoxrResampler:
    """soxr's stream with the face and the law of the built-in resampler, ``voxgate._native.resample.Resampler``.

    The total is exactly floor(n * to_rate / from_rate + 1/2) samples per channel, aligned with the input.
    Rates 4000..192000 Hz; ``quality``: QQ, LQ, MQ, HQ, VHQ; ValueError for others. Threads: one caller at a time; soxr
    releases the GIL by itself.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int = 1, quality: str = "HQ") -> None:
        import soxr

        _check_rate("from_rate", from_rate)
        _check_rate("to_rate", to_rate)
        _check_choice("quality", quality, SOXR_QUALITIES)
        self.from_rate = from_rate
        self.to_rate = to_rate
        self.channels = channels
        self.quality = quality
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=quality)
        self.consumed = 0
        """Samples per channel taken in since the stream began."""
        self.produced = 0
        """Samples per channel given out since the stream began."""

    def push(self, planes: Planes) -> Planes:
        """float32 (channels, n) -> float32 (channels, m), m >= 0. ValueError for another number of channels."""
        if planes.ndim != 2 or planes.shape[0] != self.channels:
            raise ValueError(f"planes must have shape ({self.channels}, n), got {planes.shape}")
        self.consumed += planes.shape[1]
        ready = self._stream.resample_chunk(np.ascontiguousarray(planes.T))
        room = _output_length(self.consumed, self.from_rate, self.to_rate) - self.produced
        result = np.ascontiguousarray(ready[:room].T)
        self.produced += result.shape[1]
        return result

    def finish(self) -> Planes:
        """The rest of the stream, float32 (channels, m); then the object is as new."""
        total = _output_length(self.consumed, self.from_rate, self.to_rate)
        tail = self._stream.resample_chunk(np.empty((0, self.channels), np.float32), last=True)
        result = _exactly(np.ascontiguousarray(tail.T), total - self.produced)
        self.reset()
        return result

    def reset(self) -> None:
        """Forget the stream; the next push begins a new one."""
        self._stream.clear()
        self.consumed = 0
        self.produced = 0

    @property
    def delay_s(self) -> float:
        """The longest time from the arrival of a sample until the output of its time leaves, in seconds of audio.

        Measured (to 1 ms, in about 3 ms of work) when first asked for, once per ratio and quality.
        """
        return _soxr_delay_s(self.from_rate, self.to_rate, self.quality)


def resample(samples: NDArray[np.floating], from_rate: int, to_rate: int, quality: str = "HQ") -> Planes:
    """Resample a whole recording with soxr.

    ``samples``: floats, shape (n,) or (channels, n). Returns float32 of the same number of dimensions with floor(n *
    to_rate / from_rate + 1/2) samples per channel, aligned with the input. ``quality``: QQ, LQ, MQ, HQ, VHQ. Rates
    4000..192000 Hz. TypeError for samples that are not floats, ValueError for another shape, a rate or a quality out of
    range.
    """
    _check_rate("from_rate", from_rate)
    _check_rate("to_rate", to_rate)
    _check_choice("quality", quality, SOXR_QUALITIES)
    if not isinstance(samples, np.ndarray) or not np.issubdtype(samples.dtype, np.floating):
        got = getattr(samples, "dtype", type(samples).__name__)
        raise TypeError(f"samples must be an array of floats, -1..1, got {got}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] == 0):
        raise ValueError(f"samples must have shape (n,) or (channels, n), got {samples.shape}")
    audio = samples.astype(np.float32, copy=False)
    if from_rate == to_rate or audio.shape[-1] == 0:
        return audio.copy()
    import soxr

    converted = soxr.resample(np.ascontiguousarray(audio.T), from_rate, to_rate, quality=quality).T
    return _exactly(np.ascontiguousarray(converted), _output_length(audio.shape[-1], from_rate, to_rate))


def read_audio(source: str | PathLike[str] | BinaryIO) -> tuple[Planes, int]:
    """Read a whole file in any format libsndfile knows (WAV, FLAC, Ogg, MP3, ...): (planes, rate in Hz).

    ``source``: a path, or a binary file, which is left open; either may be a pipe. OSError when a path cannot be
    opened, ValueError when the content is not audio that can be read to its end.
    """
    from .sound_files import open_sound_file

    sound = open_sound_file(source)
    blocks = [np.empty((0, sound.channels), np.float32), *sound.blocks(_BLOCK_FRAMES, "float32")]
    return np.ascontiguousarray(np.concatenate(blocks).T), sound.sample_rate


def _output_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    return (2 * n_samples * to_rate + from_rate) // (2 * from_rate)


def _exactly(samples: Planes, n_samples: int) -> Planes:
    """Cut or fill up with silence: soxr's own rounding of the total may differ by one."""
    have = samples.shape[-1]
    if have > n_samples:
        return np.ascontiguousarray(samples[..., :n_samples])
    if have < n_samples:
        return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, n_samples - have)])
    return samples


def _check_rate(name: str, rate: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{name} must be within {MIN_RATE}..{MAX_RATE} Hz, got {rate}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


@lru_cache(maxsize=64)
def _soxr_delay_s(from_rate: int, to_rate: int, quality: str) -> float:
    """Feed a second of silence by the millisecond and see how far the output lags behind at worst."""
    resampler = SoxrResampler(from_rate, to_rate, 1, quality)
    chunk = np.zeros((1, max(1, from_rate // 1000)), np.float32)
    longest_s = 0.0
    while resampler.consumed < from_rate:
        waiting_since_s = resampler.produced / to_rate
        if resampler.push(chunk).shape[1]:
            longest_s = max(longest_s, resampler.consumed / from_rate - waiting_since_s)
    return longest_s
