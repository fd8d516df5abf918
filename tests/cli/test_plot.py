"""Pictures, read back as SVG, where each text stands as a comment."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from voxgate.cli.meter import Envelope
from voxgate.cli.plot import Label, Picture


def texts(place: Path) -> list[str]:
    return re.findall(r"<!-- (.*?) -->", place.read_text())


def outline(n_samples: int) -> Envelope:
    envelope = Envelope(100)
    envelope.push(np.linspace(-1, 1, n_samples, dtype=np.float32))
    return envelope


def test_one_row_per_channel_with_what_was_heard_in_it(tmp_path: Path) -> None:
    place = tmp_path / "talk.svg"
    picture = Picture("a $talk$", [outline(80_000), outline(80_000)], 8000)
    picture.bands(1, [(0.5, 3.0), (4.0, 5.0)], "speech")
    picture.labels(1, [Label(0.5, 3.0, "good $morning"), Label(4.0, 4.1, "many words in a very short time " * 9)])
    picture.save(str(place))
    found = texts(place)
    assert {"a $talk$", "channel 0", "channel 1", "good $morning", "s", "many words"} <= set(found)
    assert any(text.endswith(" …") for text in found)
    assert found.count("many words") == 1
    bands = [patch for patch in picture.rows[1].patches if patch.get_width() > 0]
    assert [(band.get_x(), band.get_width()) for band in bands] == [(0.5, 2.5), (4.0, 1.0)]
    assert len(picture.rows[0].patches) == 0


@pytest.mark.parametrize("n_samples", [0, 1])
def test_a_picture_of_nothing(tmp_path: Path, n_samples: int) -> None:
    picture = Picture("nothing", [outline(n_samples)], 8000)
    picture.labels(0, [Label(0.0, 0.0, "")])
    picture.save(str(tmp_path / "nothing.png"))
    assert (tmp_path / "nothing.png").stat().st_size > 1000
