"""Pieces: whole frames, at most a second over all channels."""

from __future__ import annotations

import pytest

from voxgate.audio.containers.pieces import in_pieces, piece_bytes
from voxgate.protocol.formats import AudioFormat


@pytest.mark.parametrize(("channels", "most"), [(1, 8000), (2, 4000), (3, 2666), (8, 1000)])
def test_a_second_over_all_channels(channels, most):
    format = AudioFormat(channels, 8_000, 32, True)
    assert piece_bytes(format) == most * 4 * channels
    for n_frames in (0, 1, most - 1, most, most + 1, 3 * most):
        pcm = bytes(range(256)) * (n_frames * 4 * channels // 256 + 1)
        pcm = pcm[: n_frames * 4 * channels]
        pieces = list(in_pieces(pcm, format))
        assert b"".join(pieces) == pcm
        assert len(pieces) == -(-n_frames // most)
        assert all(len(piece) % (4 * channels) == 0 for piece in pieces)
