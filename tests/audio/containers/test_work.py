from __future__ import annotations

import pytest

from voxgate.audio.containers import MediaLimit
from voxgate.audio.containers.work import WorkBound


def test_a_stream_has_the_parts_of_ten_seconds_and_of_its_audio():
    work = WorkBound(100)
    assert work.most_parts == 1000
    work.check(1000, 0.0)
    with pytest.raises(MediaLimit, match=r"more than 100 parts for each second of audio \(media\.parts_per_s\)"):
        work.check(1001, 0.0)
    work.check(1550, 5.5)
    assert work.most_parts == 1550
    with pytest.raises(MediaLimit):
        work.check(1551, 5.5)
