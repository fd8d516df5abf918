"""Which messages are timed."""

from __future__ import annotations

import pytest

from helpers.handlers import open_handler
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

MESSAGE = bytes(640)  # 20 ms


@pytest.mark.parametrize(("route", "stages"), [("segmented", ("decode", "vad")), ("simple", ("decode",))])
def test_one_message_of_20_ms_in_four_seconds_is_timed(route, stages):
    handled = open_handler(route, Start(AudioFormat(1, 16_000, 16, False)))
    timed = []
    for _ in range(450):
        handled.feed(MESSAGE)
        timed.append(handled.tally.stages_s["decode"].count)
    changes = [number for number, (before, after) in enumerate(zip([0, *timed], timed, strict=False)) if after > before]
    assert changes == [0, 200, 400]
    for stage in ("decode", "vad"):
        n_timed = 3 if stage in stages else 0
        assert handled.tally.stages_s[stage].count == handled.tally.factors[stage].count == n_timed
    assert handled.handler.real_time_factor > 0
