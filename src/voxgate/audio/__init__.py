"""Decoding and resampling: the bytes of a stream, and whole files, as planes: float32, shape (channels, samples), full
scale -1..1.
"""

from voxgate.audio.decoder import RESAMPLERS, StreamDecoder
from voxgate.audio.files.read import read_audio
from voxgate.audio.soxr import SOXR_QUALITIES, SoxrResampler, resample, resampled_length

__all__ = [
    "RESAMPLERS",
    "SOXR_QUALITIES",
    "SoxrResampler",
    "StreamDecoder",
    "read_audio",
    "resample",
    "resampled_length",
]
