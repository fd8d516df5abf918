"""Ogg files, also of several streams."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.sound_files import SAMPLES, encoded, read
from voxgate.audio.files.ogg import find_links


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_every_stream_of_a_chained_ogg_is_read(opened: Callable[[bytes], Any], subtype: str) -> None:
    first, second = encoded("OGG", subtype, SAMPLES[:20_000]), encoded("OGG", subtype, SAMPLES[20_000:])
    want = [soundfile.read(io.BytesIO(content), dtype="float32")[0] for content in (first, second, first)]
    got, error = read(opened(first + second + first), "float32")
    assert error == ""
    assert np.array_equal(got, np.concatenate(want))


def test_a_chained_ogg_that_changes_its_format(opened: Callable[[bytes], Any]) -> None:
    stereo = encoded("OGG", samples=np.zeros((8000, 2)))
    samples, error = read(opened(encoded("OGG") + stereo))
    assert len(samples) == len(SAMPLES)
    assert error.endswith("readable up to 5.0 s: what follows has 2 channel(s) at 16000 Hz, not 1 at 16000 Hz")


def test_an_ogg_that_breaks_off_within_a_page(opened: Callable[[bytes], Any]) -> None:
    content = encoded("OGG")
    samples, error = read(opened(content[:-100]))
    assert 0 < len(samples) < len(SAMPLES)
    assert error.endswith(": it breaks off there")


def test_links_behind_garbage_are_found() -> None:
    content = encoded("OGG", samples=SAMPLES[:2000])
    garbage = bytes(100_000)
    links, is_complete = find_links(io.BytesIO(content + garbage + content), 0)
    assert links == [(0, len(content) + len(garbage)), (len(content) + len(garbage), len(content))]
    assert is_complete
