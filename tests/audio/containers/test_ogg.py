"""Ogg: what only it has."""

from __future__ import annotations

import numpy as np

from helpers.demuxing import MEDIA, decode
from helpers.media import RATE
from voxgate.audio.containers.ogg import OggContainer


def pages_of(data: bytes) -> list[bytes]:
    begins = [at for at in range(len(data)) if data[at : at + 5] == b"OggS\0"]
    return [data[begin:end] for begin, end in zip(begins, [*begins[1:], len(data)], strict=True)]


def test_a_lost_page_is_concealed_to_its_length():
    data = (MEDIA / "firefox-250ms.ogg").read_bytes()
    whole, _ = decode(OggContainer(RATE), [data])
    pages = pages_of(data)
    lost, error = decode(OggContainer(RATE), [b"".join(pages[:4] + pages[5:])])
    assert error is None
    assert len(lost) == len(whole)
    before, after = (np.frombuffer(pcm, np.float32) for pcm in (whole, lost))
    same = np.flatnonzero(before != after)
    assert len(pages) > 6
    assert 1.0 * RATE < same[-1] - same[0] < 2.2 * RATE  # the page, and until the decoder has forgotten


def test_firefox_writes_pages_of_4_kib():
    """What a page holds comes when it is complete: the slices between are empty."""
    data = (MEDIA / "firefox-250ms.ogg").read_bytes()
    container, arrived = OggContainer(RATE), []
    for page in pages_of(data):
        arrived.append(sum(len(pcm) for pcm in container.push(page)) // 4)
    assert sum(arrived) == len(decode(OggContainer(RATE), [data])[0]) // 4
    assert all(0 <= n_frames <= 1.5 * RATE for n_frames in arrived)
