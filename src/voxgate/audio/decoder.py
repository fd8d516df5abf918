"""Decodes the bytes of a stream to planes at the model's rate.

Planes are float32, shape (channels, samples), full scale -1..1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from voxgate._native.intake import Intake, RingIntake
from voxgate._native.pcm import PcmDecoder
from voxgate._native.resample import Resampler
from voxgate._native.ring import SampleRing
from voxgate._native.session import VadSession
from voxgate.audio.soxr import SOXR_QUALITIES, Planes, SoxrResampler, _check_choice, _check_rate
from voxgate.protocol.formats import AudioFormat

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["RESAMPLERS", "StreamDecoder"]

#: The resamplers of a stream.
RESAMPLERS: Final = ("polyphase", "soxr")


class StreamDecoder:
    """Decodes and resamples the audio of one stream: PCM bytes, split anywhere, become planes at ``sample_rate`` Hz.

    The samples do not depend on how the bytes are split. n received frames give exactly
    :func:`~voxgate.audio.resampled_length` samples per channel, aligned with the received audio.

    ``resampler``: ``"polyphase"`` (to 16 kHz it delays by 1.5 ms, from 8 kHz by 2.9 ms) or ``"soxr"`` with one of its
    quality levels ``soxr_quality`` (QQ, LQ, MQ, HQ, VHQ; HQ delays by 38 ms from 48 kHz, by 117 ms from 8 kHz). Equal
    rates need no resampler. ``format`` must have passed `voxgate.protocol.check_format`.
    Raises ValueError for an option out of range.
    Threads: one caller at a time.
    """

    def __init__(
        self, format: AudioFormat, sample_rate: int, resampler: str = "polyphase", soxr_quality: str = "HQ"
    ) -> None:
        _check_choice("resampler", resampler, RESAMPLERS)
        _check_choice("soxr_quality", soxr_quality, SOXR_QUALITIES)
        _check_rate("sample_rate", sample_rate)
        self.format = format
        """The format of the bytes."""
        self.sample_rate = sample_rate
        """The rate of the planes, in Hz."""
        self._decoder = PcmDecoder(format.pcm_encoding, format.channels)
        self._resampler: Resampler | SoxrResampler | None = None
        if format.sample_rate != sample_rate:
            if resampler == "soxr":
                self._resampler = SoxrResampler(format.sample_rate, sample_rate, format.channels, soxr_quality)
            else:
                self._resampler = Resampler(format.sample_rate, sample_rate, format.channels)

    def push(self, data: Buffer) -> Planes:
        """Take bytes of any length, split anywhere; return the complete samples, float32 (channels, m), m >= 0."""
        planes = self._decoder.push(data)
        return planes if self._resampler is None else self._resampler.push(planes)

    def finish(self) -> Planes:
        """End the stream; return its last samples, float32 (channels, m): a trailing partial frame, its missing bytes
        0, and the samples that the resampler still buffers.

        The next push begins a new stream; until then ``received_s`` keeps its value.
        """
        planes = self._decoder.finish()
        if self._resampler is None:
            return planes
        return np.concatenate([self._resampler.push(planes), self._resampler.finish()], axis=1)

    def intake(self, session: VadSession) -> Intake | None:
        """A faster path into `session`, whose rate is ``sample_rate``, than push and feed; None with soxr."""
        if isinstance(self._resampler, SoxrResampler):
            return None
        return Intake(self._decoder, self._resampler, session)

    def ring_intake(self, rings: list[SampleRing], min_samples: int) -> RingIntake | None:
        """A faster path into the rings of the channels than push; None with soxr."""
        if isinstance(self._resampler, SoxrResampler):
            return None
        return RingIntake(self._decoder, self._resampler, rings, min_samples)

    @property
    def received_frames(self) -> int:
        """Complete frames received in this stream, at the rate of the format; after finish, with the partial one."""
        return self._decoder.received_frames

    @property
    def delay_s(self) -> float:
        """The longest time that a sample waits for later ones before it is returned, in seconds."""
        return 0.0 if self._resampler is None else self._resampler.delay_s

    @property
    def received_s(self) -> float:
        """``received_frames`` in seconds."""
        return self.received_frames / self.format.sample_rate
