"""libopus is found, and a library that is none is left alone."""

from __future__ import annotations

import ctypes

import pytest

from voxgate.audio.containers import libopus
from voxgate.audio.containers.libopus import LibopusDecoder, load_libopus
from voxgate.audio.containers.opus_head import OpusHead


@pytest.fixture
def paths(monkeypatch):
    def use(names: tuple[str, ...], bundled: list[str]) -> ctypes.PyDLL | None:
        monkeypatch.setattr(libopus, "_NAMES", names)
        monkeypatch.setattr(libopus, "_bundled", lambda: bundled)
        return load_libopus.__wrapped__()

    return use


def test_that_of_pyav_is_found(paths):
    bundled = libopus._bundled()
    assert bundled, "the wheel of PyAV has one"
    assert paths((), bundled) is not None


def test_a_library_without_its_functions_is_none(paths):
    assert paths(("libm.so.6", "no-such-library.so"), []) is None


def test_no_pyav(monkeypatch):
    monkeypatch.setattr(libopus.importlib.util, "find_spec", lambda name: None)
    assert libopus._bundled() == []


def test_what_it_refuses():
    library = load_libopus()
    with pytest.raises(ValueError, match="refuses"):
        LibopusDecoder(library, OpusHead(1), 44_100)
    with pytest.raises(ValueError, match="refuses"):
        LibopusDecoder(library, OpusHead(3, 0, 1.0, 200, 200, (0, 1, 2)), 48_000)


def test_packets_that_are_too_long_or_empty():
    decoder = LibopusDecoder(load_libopus(), OpusHead(1), 8_000)
    assert decoder.decode(b"\x4b\x3f" + bytes(50)) is None
    assert len(decoder.conceal(8_000 * 120 // 1000)) == 4 * 960
