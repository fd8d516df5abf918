"""WebM: which decoder a track gets."""

from __future__ import annotations

from helpers.demuxing import MEDIA, decode
from voxgate.audio.containers.webm import WebmContainer
from voxgate.protocol.formats import AudioFormat


def test_rates_and_channels():
    data = (MEDIA / "chromium-100ms.webm").read_bytes()
    for wanted, rate in ((None, 48_000), (8_000, 8_000), (16_000, 16_000), (22_050, 24_000)):
        container = WebmContainer() if wanted is None else WebmContainer(wanted)
        pcm, error = decode(container, [data])
        assert error is None
        assert container.format == AudioFormat(2, rate, 32, True)
        assert len(pcm) == 8 * 108 * 60 * rate // 1000
