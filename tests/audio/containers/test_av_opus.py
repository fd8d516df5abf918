"""Opus by PyAV alone: what `test_opus` does not see."""

from __future__ import annotations

import pytest

from voxgate.audio.containers.av_opus import AvOpusDecoder
from voxgate.audio.containers.opus_head import OpusHead


def test_damage_gives_none():
    decoder = AvOpusDecoder(OpusHead(2, n_coupled=1, mapping=(0, 1)))
    assert decoder.decode(b"\x4b\x83\0") is None
    assert len(decoder.decode(b"\xfc" + bytes(20)) or b"") == 960 * 2 * 4
    assert decoder.conceal(3) == bytes(24)


def test_it_needs_pyav(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImportError):
        AvOpusDecoder(OpusHead(1))
