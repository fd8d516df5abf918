"""Several channels become one."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.wire import encode
from voxgate.audio.mixing import Mixer
from voxgate.protocol.formats import AudioFormat


@pytest.mark.parametrize("encoding", ["s16", "f32"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_mean_of_all_channels_in_pieces(encoding, channels):
    planes = np.random.default_rng(1).uniform(-0.9, 0.9, (channels, 1000)).astype(np.float32)
    format = AudioFormat(channels, 8000, 32 if encoding == "f32" else 16, encoding == "f32")
    data, frame = encode(planes, encoding), format.frame_bytes
    mixer = Mixer(format)
    assert mixer.format == AudioFormat(1, 8000, 32, True)
    mixed = b"".join(mixer.mix(data[at : at + 7 * frame]) for at in range(0, len(data), 7 * frame))
    np.testing.assert_allclose(np.frombuffer(mixed, "<f4"), planes.mean(axis=0), atol=4e-5)
