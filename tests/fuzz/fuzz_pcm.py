"""PcmDecoder: every encoding, cut anywhere, is the textbook's; nothing is lost at the end."""

from __future__ import annotations

import numpy as np

from fuzz.source import Source
from reference import pcm_ref
from voxgate._native.pcm import PcmDecoder, sample_bytes


def fuzz(data: bytes) -> None:
    source = Source(data)
    encoding = source.pick(pcm_ref.ENCODINGS)
    channels = source.pick((1, 2, 3, 8, 256))
    cuts = source.integer(1, 12)
    resets = source.integer(0, 7) == 0
    wraps = source.pick((bytes, bytearray, memoryview))
    pieces = source.pieces(source.take(4096) if source.flag() else bytes(source.size(20_000)), cuts)
    decoder = PcmDecoder(encoding, channels)
    assert decoder.frame_bytes == channels * sample_bytes(encoding)
    if resets:
        decoder.push(b"\x01" * (decoder.frame_bytes - 1))
        decoder.reset()
    parts, n_bytes = [], 0
    for piece in pieces:
        parts.append(decoder.push(wraps(piece)))
        n_bytes += len(piece)
        assert decoder.pending_bytes == n_bytes % decoder.frame_bytes
    with np.errstate(all="ignore"):
        expected, expected_tail = pcm_ref.decode(encoding, channels, b"".join(pieces))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)
    np.testing.assert_array_equal(decoder.finish(), expected_tail)
    assert decoder.pending_bytes == 0


SEEDS = [bytes([encoding, 1, 3, 1, 0, 0]) + bytes(range(200)) for encoding in range(len(pcm_ref.ENCODINGS))]
