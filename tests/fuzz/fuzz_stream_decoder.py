"""StreamDecoder: any format, any cut, both resamplers: exact counts, the same samples, nothing lost at the end."""

from __future__ import annotations

import numpy as np

from fuzz.source import Source
from reference.resample_ref import output_length
from voxgate.audio.decoder import RESAMPLERS, StreamDecoder
from voxgate.audio.soxr import SOXR_QUALITIES
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat, check_format


def fuzz(data: bytes) -> None:
    source = Source(data)
    audio_format = AudioFormat(
        source.integer(0, 10),
        source.pick((4000, 8000, 16_000, 22_050, 44_100, 48_000, 192_000))
        if source.flag()
        else source.integer(0, 200_000),
        source.pick((8, 16, 24, 32, 64, 12, -8)),
        source.flag(),
        source.pick((None, None, None, "mulaw", "alaw", "opus")),
    )
    try:
        check_format(audio_format)
    except InvalidStart as error:
        assert str(error).startswith("format.")
        return
    rate = source.pick((8000, 16_000, 48_000))
    resampler, quality = source.pick(RESAMPLERS), source.pick(SOXR_QUALITIES)
    cuts = source.integer(1, 12)
    payload = np.random.default_rng(source.integer(0, 255)).bytes(source.size(30_000))
    pieces = source.pieces(payload, cuts)
    whole = StreamDecoder(audio_format, rate, resampler, quality)
    expected = np.concatenate([whole.push(payload), whole.finish()], axis=1)
    frame_bytes, sample_bytes = audio_format.frame_bytes, audio_format.sample_bytes
    n_frames = len(payload) // frame_bytes + (len(payload) % frame_bytes >= sample_bytes)
    assert expected.shape == (audio_format.channels, output_length(n_frames, audio_format.sample_rate, rate))
    assert expected.dtype == np.float32
    assert np.isfinite(expected).all()
    assert whole.received_s == n_frames / audio_format.sample_rate
    cut = StreamDecoder(audio_format, rate, resampler, quality)
    for _ in range(2):  # the second stream of a decoder is like its first
        parts = [cut.push(piece) for piece in pieces]
        joined = np.concatenate([*parts, cut.finish()], axis=1)
        np.testing.assert_array_equal(joined, expected)


SEEDS = [
    bytes([2, 1, rate, 1, 0, 0, 1, kind, 3, 5, 7, 99, 60, 0, 9, 1]) + bytes(range(60))
    for rate in range(6)
    for kind in (0, 1)
]
